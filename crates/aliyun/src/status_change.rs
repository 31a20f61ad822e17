//! HTTP statuses on which the vendor's pages disagree: the page of each action still prints the
//! first one, the notice "change of HTTP status codes" says that it has become the second. The
//! setting `aliyun.status_change` chooses.
//! Source (documented; the notice bears no date, the pages are as of August 2026): help.aliyun.com,
//! apsaramq-for-mqtt, change-of-http-status-codes-for-apsaramq-for-mqtt-api-operations, looked at
//! 2026-11-27.

/// One code with both of its statuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Changed {
    /// The error code.
    pub(super) code: &'static str,
    /// The status on the action's own page.
    pub(super) before: u16,
    /// The status by the notice.
    pub(super) after: u16,
}

const fn changed(code: &'static str, before: u16, after: u16) -> Changed {
    Changed {
        code,
        before,
        after,
    }
}

/// The notice, row by row. Those below the line are of actions that answer `ApiNotSupport` here.
#[rustfmt::skip]
pub(super) const NOTICE: [Changed; 14] = [
    changed("InternalError", 500, 417),
    changed("SystemOverFlow", 500, 403),
    changed("CreateGroupIdError", 500, 417),
    changed("DeleteGroupIdError", 500, 417),
    changed("SendMessageFailed", 500, 417),
    // ----
    changed("RegisterCodeError", 500, 400),
    changed("RegisterCodeUsed", 500, 401),
    changed("GetCaNumError", 500, 401),
    changed("CaNumExceed", 500, 401),
    changed("CertificateContentError", 500, 401),
    changed("SnNotUnique", 500, 401),
    changed("MqttInstanceNotFound", 500, 400),
    changed("FindCaBySnError", 500, 400),
    changed("MqttOwnerCheckError", 500, 403),
];

/// The row of a code of the product's, if the notice has one.
pub(super) fn of(code: &str) -> Option<Changed> {
    NOTICE.into_iter().find(|row| row.code == code)
}
