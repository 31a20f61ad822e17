//! Aliyun ApsaraMQ for MQTT: the `OnsMqtt` OpenAPI, version 2020-04-20.
