//! Bytes as hexadecimal digits, and digits as bytes.

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE, HEXUPPER};

/// Two lower-case digits for each byte.
pub fn lower(bytes: impl AsRef<[u8]>) -> String {
    HEXLOWER.encode(bytes.as_ref())
}

/// Two upper-case digits for each byte.
pub fn upper(bytes: impl AsRef<[u8]>) -> String {
    HEXUPPER.encode(bytes.as_ref())
}

/// The bytes of digits in either case. `None` for anything else, such as half a byte.
pub fn bytes(digits: &str) -> Option<Vec<u8>> {
    HEXLOWER_PERMISSIVE.decode(digits.as_bytes()).ok()
}

/// The bytes of lower-case digits, for vendors that refuse upper-case ones.
pub fn bytes_of_lower(digits: &str) -> Option<Vec<u8>> {
    HEXLOWER.decode(digits.as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_become_two_digits_each() {
        assert_eq!(lower([0, 255, 0x0a]), "00ff0a");
        assert_eq!(upper([0, 255, 0x0a]), "00FF0A");
    }

    #[test]
    fn digits_of_either_case_are_read() {
        assert_eq!(bytes("00fFA0"), Some(vec![0, 255, 160]));
        assert_eq!(bytes(""), Some(Vec::new()));
        for text in ["0", "0g", "+1", "é0", "0 0"] {
            assert_eq!(bytes(text), None, "{text}");
        }
    }

    #[test]
    fn only_lower_case_digits_are_lower_case() {
        assert_eq!(bytes_of_lower("00ffa0"), Some(vec![0, 255, 160]));
        assert_eq!(bytes_of_lower("00fFa0"), None);
    }
}
