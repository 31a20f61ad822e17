//! Which CONNECT is IoT Hub's, by the shape of what it brings and not by whether that is right: what
//! no row here fits is another vendor's or an open client's.

use mqttstack_broker::dialect::Connect;

use super::credentials::{ALGORITHMS, UserName};
use crate::store::Store;

type Row = fn(&Connect, &Store) -> bool;

/// Host names and the form of user name and password are documented (MQTT access page 634/32546);
/// that a device's client id with other credentials is refused was seen (esp-at issue 427). That
/// the parts count one by one, and the names of known products alone, is assumed.
const ROWS: [Row; 6] = [
    to_an_access_point,
    with_a_user_name_of_four_parts,
    with_a_password_of_two_parts,
    of_a_device,
    with_a_user_name_of_a_product,
    with_a_client_id_of_a_product,
];

/// Whether it is IoT Hub's.
pub(super) fn is_own(connect: &Connect, store: &Store) -> bool {
    ROWS.iter().any(|fits| fits(connect, store))
}

fn to_an_access_point(connect: &Connect, _store: &Store) -> bool {
    let server_name = connect.tls.server_name.as_deref();
    server_name.is_some_and(|name| name.ends_with(".tencentdevices.com"))
}

fn with_a_user_name_of_four_parts(connect: &Connect, _store: &Store) -> bool {
    let name = connect.username.as_deref();
    name.is_some_and(|name| UserName::parse(name).is_some())
}

fn with_a_password_of_two_parts(connect: &Connect, _store: &Store) -> bool {
    let password = connect.password.as_deref();
    let text = password.and_then(|password| std::str::from_utf8(password).ok());
    text.and_then(|text| text.rsplit_once(';'))
        .is_some_and(|(_, algorithm)| ALGORITHMS.contains(&algorithm))
}

/// With whatever credentials, or none.
fn of_a_device(connect: &Connect, store: &Store) -> bool {
    store.device_of(&connect.client_id).is_some()
}

fn with_a_user_name_of_a_product(connect: &Connect, store: &Store) -> bool {
    let name = connect.username.as_deref();
    name.is_some_and(|name| store.knows_product_of(name))
}

fn with_a_client_id_of_a_product(connect: &Connect, store: &Store) -> bool {
    connect.username.is_some() && store.knows_product_of(&connect.client_id)
}
