//! Tencent TDMQ for MQTT: the HTTP data plane and the `mqtt` cloud API.
