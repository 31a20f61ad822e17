//! Azure Event Grid: the MQTT broker's HTTP publish, Entra tokens, routing and pull delivery.
