//! Tests of what policies see of a filter.

use super::*;

#[test]
fn a_share_group_is_no_part_of_the_filter_that_policies_see() {
    assert_eq!(without_share("$share/g/home/+"), "home/+");
    assert_eq!(without_share("$share/g//a"), "/a");
    assert_eq!(without_share("home/$share/g"), "home/$share/g");
}
