//! How long a call of the cloud API may be, and how it is refused unread if it is longer.

use mqttstack_base::exchange::Head;

use super::{Tc3Error, V1_MAX_BYTES};

/// The longest POST that is signed by TC3-HMAC-SHA256 (signature v3 page).
const V3: usize = 10 << 20;

/// The longest body of a call with this head.
pub fn longest_body(head: &Head) -> usize {
    if is_form(head) { V1_MAX_BYTES } else { V3 }
}

/// How a longer one is refused.
pub fn too_large(head: &Head) -> Tc3Error {
    if is_form(head) {
        Tc3Error::RequestTooLarge
    } else {
        Tc3Error::TooLarge { limit: V3 }
    }
}

/// Whether the parameters are a form, in which the older signature is as well.
fn is_form(head: &Head) -> bool {
    let media = head.headers.text("Content-Type").unwrap_or_default();
    let media = media.split(';').next().unwrap_or_default().trim();
    head.headers.get("X-TC-Action").is_none()
        && media.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}
