//! A short text that tells values apart without showing them.

/// FNV-1a. Every build computes the same, which the standard library's hashes do not promise.
pub fn fnv1a(bytes: impl IntoIterator<Item = u8>) -> u64 {
    bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The fingerprint of a mirror value, for people who compare two.
///
/// It is no proof that two values are equal, and no seal. It gives 32 bits away of a token that
/// holds 256 bits which nobody can guess, so whoever reads it is no nearer to the token.
pub fn fingerprint(value: &str) -> String {
    let hash = fnv1a(value.bytes());
    format!("{:08x}", (hash >> 32) ^ (hash & 0xffff_ffff))
}

/// Whether a text is of the form of a fingerprint.
pub fn is_fingerprint(text: &str) -> bool {
    let is_digit = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    text.len() == 8 && text.bytes().all(is_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_published_function() {
        for (text, hash) in [
            ("", 0xcbf2_9ce4_8422_2325),
            ("a", 0xaf63_dc4c_8601_ec8c),
            ("foobar", 0x8594_4171_f739_67e8),
        ] {
            assert_eq!(fnv1a(text.bytes()), hash, "{text}");
        }
    }

    #[test]
    fn a_fingerprint_is_short_and_tells_values_apart() {
        assert_eq!(fingerprint("foobar"), "72ad2699");
        assert_ne!(
            fingerprint("eyJzZWNyZXQiOiJh"),
            fingerprint("eyJzZWNyZXQiOiJi")
        );
    }

    #[test]
    fn nothing_but_eight_lower_case_hex_digits_is_of_its_form() {
        for (text, is_one) in [
            ("72ad2699", true),
            ("72ad269", false),
            ("72ad26990", false),
            ("72AD2699", false),
            ("a secret", false),
            ("", false),
        ] {
            assert_eq!(is_fingerprint(text), is_one, "{text:?}");
        }
    }
}
