//! The cloud API signature TC3-HMAC-SHA256, which both Tencent vendors share.
