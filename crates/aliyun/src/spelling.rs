//! Which of a few names somebody may have meant.

/// No name of the vendor's is longer; a longer text is nobody's misspelling.
const LONGEST: usize = 64;

/// The name nearest to a misspelled one: the same but for case, or but for two letters (one of a
/// short name).
pub(super) fn nearest<'n>(wrong: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    if wrong.len() > LONGEST {
        return None;
    }
    let wrong = wrong.to_ascii_lowercase();
    let near = |name: &'n str| {
        let most = if name.len() < 6 { 1 } else { 2 };
        let short = !name.is_empty() && name.len() <= LONGEST;
        let far =
            short.then(|| distance(wrong.as_bytes(), name.to_ascii_lowercase().as_bytes()))?;
        (far <= most).then_some((far, name))
    };
    names
        .filter_map(near)
        .min_by_key(|(far, _)| *far)
        .map(|(_, name)| name)
}

/// How many bytes must be put in, taken out or changed to make one of the other.
fn distance(one: &[u8], other: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (above, byte) in one.iter().enumerate() {
        let mut diagonal = above;
        row[0] = above + 1;
        for (left, against) in other.iter().enumerate() {
            let changed = diagonal + usize::from(byte != against);
            diagonal = row[left + 1];
            row[left + 1] = changed.min(diagonal + 1).min(row[left] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_letters_and_any_case_are_near() {
        let names = ["SendMessage", "ApplyToken", "Tags"];
        let near = |wrong| nearest(wrong, names.into_iter());
        for (wrong, meant) in [
            ("SendMesage", Some("SendMessage")),
            ("sendmessage", Some("SendMessage")),
            ("SendMessages", Some("SendMessage")),
            ("ApllyTokn", Some("ApplyToken")),
            ("Tag", Some("Tags")),
            ("Tg", None),
            ("Send", None),
            ("", None),
            (&*"SendMessage".repeat(9_000), None),
        ] {
            assert_eq!(near(wrong), meant, "{wrong:.30}");
        }
    }

    #[test]
    fn the_nearest_of_several_wins() {
        let names = [
            "GetCaCertificate",
            "GetDeviceCertificate",
            "SetCaCertificate",
        ];
        assert_eq!(
            nearest("getCaCertificat", names.into_iter()),
            Some("GetCaCertificate")
        );
    }
}
