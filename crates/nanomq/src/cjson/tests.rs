//! What cJSON reads and prints, case by case and by property.

use proptest::prelude::*;

use super::read;
use super::*;

fn round(text: &str) -> Option<String> {
    read::text(text.as_bytes()).map(|json| String::from_utf8(json.print()).unwrap())
}

#[test]
fn text_after_the_first_value_is_ignored() {
    assert_eq!(round("{\"a\":1} trailing").as_deref(), Some("{\"a\":1}"));
    assert_eq!(
        round("\u{feff} \n{\"a\":[]}\0{").as_deref(),
        Some("{\"a\":[]}")
    );
}

#[test]
fn what_is_no_json_is_refused() {
    for bad in [
        "",
        " ",
        "nope",
        "{",
        "{\"a\"",
        "{\"a\":",
        "{\"a\":1",
        "{\"a\":1,}",
        "[1,]",
        "{a:1}",
        "\"",
        "\"\\",
        "\"\\u12\"",
        "\"\\x\"",
        "\"\\ud800\"",
        "\"\\udc00\"",
        "-",
        "{\"a\":1/*x*/}",
        "+1",
        ".5",
        "[1 2]",
        "[1e]",
        "[0x10]",
    ] {
        assert_eq!(round(bad), None, "{bad}");
    }
}

#[test]
fn a_thousand_levels_are_read_and_one_more_is_not() {
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    assert!(read::text(nested(1000).as_bytes()).is_some());
    assert!(read::text(nested(1001).as_bytes()).is_none());
    assert!(read::text("[".repeat(1 << 20).as_bytes()).is_none());
}

#[test]
fn a_thousand_levels_need_hardly_any_stack() {
    let levels = |open: &str, close: &str| format!("{}1{}", open.repeat(500), close.repeat(500));
    for text in [levels("[[", "]]"), levels("{\"a\":[", "]}")] {
        let walk = move || {
            let json = read::text(text.as_bytes()).unwrap();
            assert_eq!(json.print(), text.as_bytes());
        };
        let small = std::thread::Builder::new().stack_size(48 << 10);
        small.spawn(walk).unwrap().join().unwrap();
    }
}

#[test]
fn the_first_of_equal_keys_wins_without_regard_to_case() {
    let json = read::text(b"{\"SEQ\":1,\"seq\":2}").unwrap();
    assert_eq!(json.get("Seq"), Some(&Json::Number(1.0)));
}

#[test]
fn a_string_ends_at_a_nul_and_keeps_bytes_that_are_not_utf8() {
    let json = read::text(b"[\"a\\u0000b\",\"\xff\xfe\",\"\\ud83d\\ude00\",\"\\uzzzz\"]").unwrap();
    assert_eq!(
        json,
        Json::Array(vec![
            Json::Text(b"a".to_vec()),
            Json::Text(b"\xff\xfe".to_vec()),
            Json::Text("😀".as_bytes().to_vec()),
            Json::Text(Vec::new()),
        ])
    );
}

#[test]
fn nul_ends_a_v1_body_and_is_white_space_in_a_v4_body() {
    assert_eq!(read::text(b"{\"a\":\0 1}"), None);
    assert!(read::bytes(b"{\"a\":\0 1}").is_some());
}

#[test]
fn numbers_print_as_recorded() {
    for (number, text) in [
        (2_147_483_647.0, "2147483647"),
        (1_656_000_000_123.0, "1656000000123"),
        (999_999_999_999_999.0, "999999999999999"),
        (1e15, "1e+15"),
        (123_456_789_012_345_680.0, "1.2345678901234568e+17"),
        (9_007_199_254_740_993.0, "9.00719925474099e+15"),
        (1e19, "1e+19"),
        (1.25, "1.25"),
        (f64::from(1.3_f32), "1.2999999523162842"),
        (-0.00001, "-1e-05"),
        (0.0001, "0.0001"),
        (f64::NAN, "null"),
    ] {
        assert_eq!(print_number(number), text);
    }
}

#[test]
fn a_seq_is_cut_to_64_bits_as_the_machine_does_it() {
    for (number, text) in [
        (1.75, "1"),
        (0.9, "0"),
        (-0.5, "0"),
        (-5.0, "1.8446744073709552e+19"),
        (f64::INFINITY, "0"),
        (2e19, "0"),
        (1e19, "1e+19"),
        (f64::NAN, "9.2233720368547758e+18"),
        (-1e30, "9.2233720368547758e+18"),
    ] {
        assert_eq!(print_number(double(to_u64(number))), text, "{number}");
    }
}

proptest! {
    /// Any JSON number: an integer below 10^15 comes back unchanged and cut, and anything
    /// larger reads back as the same double to 15 digits.
    #[test]
    fn any_seq_prints_as_the_rule_says(number in prop_oneof![
        0.0..1e15, 1e15..1.8e19, -1e19..0.0, any::<f64>()
    ]) {
        prop_assume!(f64::is_finite(number));
        let read = read::text(format!("{number:e}").as_bytes());
        prop_assert_eq!(read.and_then(|json| json.number()), Some(number));
        let cut = to_u64(number);
        let printed = print_number(double(cut));
        if cut < 1_000_000_000_000_000 {
            prop_assert_eq!(&printed, &cut.to_string());
        } else {
            // C's %.17g has no exponent below 10^17, %.15g none below 10^15.
            prop_assert!(printed.contains("e+") || cut < 100_000_000_000_000_000, "{}", printed);
            let read: f64 = printed.parse().unwrap();
            prop_assert!((read - double(cut)).abs() <= double(cut) * f64::EPSILON);
            let digits = printed.split('e').next().unwrap().bytes().filter(u8::is_ascii_digit);
            prop_assert!(digits.count() <= 17);
        }
        if (0.0..1e15).contains(&number) {
            prop_assert_eq!(printed, format!("{:.0}", number.trunc().abs()));
        }
    }

    #[test]
    fn what_is_printed_reads_back_the_same(number in any::<i32>(), text in "\\PC*") {
        let json = Json::object([("n", Json::Number(number.into())), ("t", Json::from(text))]);
        prop_assert_eq!(read::text(&json.print()), Some(json));
    }

    #[test]
    fn no_bytes_crash_the_reader(body in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = read::text(&body);
        let _ = read::bytes(&body);
    }

    #[test]
    fn no_almost_json_crashes_the_reader(body in "[\\[\\]{}\",:0-9a-fu\\\\ .eE+-]{0,120}") {
        let _ = read::text(body.as_bytes());
    }
}
