//! Tencent IoT Hub: the device gateway over HTTP and the `iotcloud` cloud API.
