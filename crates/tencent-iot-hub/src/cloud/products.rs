//! Products and their topic classes.

use mqttstack_base::secret::Secret;
use mqttstack_pipeline::Walk;
use serde_json::{Map, Value, json};

use super::{Answered, Call, Version, fields};
use crate::TencentIot;
use crate::error::Error;
use crate::fields::{Fields, Kind, check_name, wrong_value};
use crate::keys::pick;
use crate::settings::{Encryption, RegisterType, TopicClass};
use crate::store::Product;
use crate::topic::{DEFAULT_CLASSES, class_fault};

/// The most custom topic classes of a product (limits page).
const MAX_CLASSES: usize = 100;
const CAPITALS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// `ProductProperties` of both versions.
const PROPERTIES: [(&str, Kind); 13] = [
    ("ProductDescription", Kind::Text),
    ("EncryptionType", Kind::Text),
    ("Region", Kind::Text),
    ("ProductType", Kind::Integer),
    ("Format", Kind::Text),
    ("Platform", Kind::Text),
    ("Appeui", Kind::Text),
    ("ModelId", Kind::Text),
    ("ModelName", Kind::Text),
    ("ProductKey", Kind::Text),
    ("RegisterType", Kind::Integer),
    ("ProductSecret", Kind::Text),
    ("RegisterLimit", Kind::Integer),
];
/// Those that the 2021 version alone has.
const PROPERTIES_OF_2021: [(&str, Kind); 6] = [
    ("OriginProductId", Kind::Text),
    ("PrivateCAName", Kind::Text),
    ("OriginUserId", Kind::Integer),
    ("DeviceLimit", Kind::Integer),
    ("ForbiddenStatus", Kind::Integer),
    ("AppEUI", Kind::Text),
];

/// `CreateProduct`: a certificate product where `EncryptionType` does not say "2".
pub(super) fn create(vendor: &TencentIot, call: &Call, walk: &Walk<'_>) -> Answered {
    let name = call.fields.filled("ProductName")?;
    check_name("ProductName", name, 32)?;
    if vendor.store.has_product_named(name) {
        return Err(Error::ProductAlreadyExist(name.to_owned()));
    }
    let properties = call.fields.object("ProductProperties");
    let mut known = PROPERTIES.to_vec();
    if call.version == Version::V2021 {
        known.extend(PROPERTIES_OF_2021);
    }
    properties.conform(&known)?;
    let encryption = match properties.optional_text("EncryptionType")? {
        None | Some("1") => Encryption::Certificate,
        Some("2") => Encryption::Psk,
        Some(_) => {
            return Err(wrong_value(
                "EncryptionType",
                "is neither \"1\" (certificate) nor \"2\" (key)",
            ));
        }
    };
    let register_type = register_type(&properties)?.unwrap_or_default();
    let register_limit = register_limit(&properties)?.unwrap_or(1_000);
    let product = Product {
        id: pick::<10>(&walk.app.ids, CAPITALS),
        name: name.to_owned(),
        secret: Secret::new(pick::<24>(&walk.app.ids, LETTERS)),
        encryption,
        register_type,
        register_limit,
        enabled: true,
        topics: Vec::new(),
        remote_configuration: None,
        properties: properties.into_map(),
    };
    let answer = fields([
        ("ProductName", json!(product.name)),
        ("ProductId", json!(product.id)),
        ("ProductProperties", described(&product)),
    ]);
    vendor.store.add_product(product);
    Ok(answer)
}

/// The properties as given, with the defaults for what was not.
fn described(product: &Product) -> Value {
    let mut properties = product.properties.clone();
    let mut default = |name: &str, value: Value| {
        properties.entry(name).or_insert(value);
    };
    default("ProductDescription", json!(""));
    default("Region", json!("gz"));
    default("ProductType", json!(0));
    default("Format", json!("json"));
    default("Platform", json!("0"));
    default("ModelId", json!("-1"));
    let secret = match product.register_type {
        RegisterType::Off => "",
        RegisterType::PreCreated | RegisterType::AutoCreate => product.secret.expose(),
    };
    let encryption = product.encryption.number().to_string();
    properties.insert("EncryptionType".to_owned(), json!(encryption));
    properties.insert(
        "RegisterType".to_owned(),
        json!(u8::from(product.register_type)),
    );
    properties.insert("RegisterLimit".to_owned(), json!(product.register_limit));
    properties.insert("ProductSecret".to_owned(), json!(secret));
    properties.into()
}

fn register_type(fields: &Fields) -> Result<Option<RegisterType>, Error> {
    fields
        .optional_number("RegisterType")?
        .map(|number| {
            RegisterType::from_number(number)
                .ok_or_else(|| wrong_value("RegisterType", "is none of 0, 1 and 2"))
        })
        .transpose()
}

fn register_limit(fields: &Fields) -> Result<Option<usize>, Error> {
    fields
        .optional_number("RegisterLimit")?
        .map(|number| {
            usize::try_from(number).map_err(|_| wrong_value("RegisterLimit", "is negative"))
        })
        .transpose()
}

/// `DeleteProduct`: only one without devices.
pub(super) fn delete(vendor: &TencentIot, call: &Call) -> Answered {
    let product = product(vendor, call)?;
    let devices = vendor.store.devices(&product.id).len();
    if devices > 0 {
        return Err(Error::DevicesExistUnderProduct(devices));
    }
    vendor.store.remove_product(&product.id);
    Ok(Map::new())
}

/// `UpdateProductDynamicRegister`.
pub(super) fn registration(vendor: &TencentIot, call: &Call, walk: &Walk<'_>) -> Answered {
    let id = product(vendor, call)?.id;
    let kind = register_type(&call.fields)?
        .ok_or_else(|| Error::MissingParameter("RegisterType".to_owned()))?;
    let limit = register_limit(&call.fields)?;
    let product = vendor.store.with_product(&id, |product| {
        product.register_type = kind;
        product.register_limit = limit.unwrap_or(product.register_limit);
        if product.secret.expose().is_empty() {
            product.secret = Secret::new(pick::<24>(&walk.app.ids, LETTERS));
        }
        product.clone()
    });
    let product = product.ok_or(Error::ProductNotExist(id))?;
    Ok(fields([
        ("RegisterType", json!(u8::from(kind))),
        ("ProductSecret", json!(product.secret.expose())),
        ("RegisterLimit", json!(product.register_limit)),
    ]))
}

/// `CreateTopicPolicy`.
pub(super) fn create_topic(vendor: &TencentIot, call: &Call) -> Answered {
    let id = product(vendor, call)?.id;
    let class = TopicClass {
        name: class_name(call, "TopicName", &id)?,
        privilege: privilege(call)?,
    };
    changed(vendor, &id, |product| {
        if taken(product, &class.name) {
            return Err(Error::TopicPolicyAlreadyExist(class.name));
        }
        if product.topics.len() >= MAX_CLASSES {
            return Err(Error::TopicPolicyExceedLimit);
        }
        product.topics.push(class);
        Ok(())
    })
}

/// `UpdateTopicPolicy`: another name, another privilege.
pub(super) fn update_topic(vendor: &TencentIot, call: &Call) -> Answered {
    let id = product(vendor, call)?.id;
    let old = class_name(call, "TopicName", &id)?;
    let class = TopicClass {
        name: class_name(call, "NewTopicName", &id)?,
        privilege: privilege(call)?,
    };
    changed(vendor, &id, |product| {
        if class.name != old && taken(product, &class.name) {
            return Err(Error::TopicPolicyAlreadyExist(class.name));
        }
        let place = product.topics.iter_mut().find(|class| class.name == old);
        *place.ok_or(Error::TopicPolicyNotExist(old))? = class;
        Ok(())
    })
}

fn changed(
    vendor: &TencentIot,
    id: &str,
    change: impl FnOnce(&mut Product) -> Result<(), Error>,
) -> Answered {
    let done = vendor.store.with_product(id, change);
    done.unwrap_or_else(|| Err(Error::ProductNotExist(id.to_owned())))?;
    Ok(Map::new())
}

fn taken(product: &Product, name: &str) -> bool {
    DEFAULT_CLASSES.iter().any(|(class, _)| *class == name)
        || product.topics.iter().any(|class| class.name == name)
}

/// The class's name below `{ProductId}/{DeviceName}/`; the console prints the whole pattern,
/// which is understood as well.
fn class_name(call: &Call, field: &str, product: &str) -> Result<String, Error> {
    let text = call.fields.filled(field)?;
    let whole = [
        format!("{product}/${{deviceName}}/"),
        "${productId}/${deviceName}/".to_owned(),
    ];
    let name = whole
        .iter()
        .find_map(|prefix| text.strip_prefix(prefix.as_str()))
        .unwrap_or(text);
    match class_fault(name) {
        Some(fault) => Err(wrong_value(field, fault)),
        None => Ok(name.to_owned()),
    }
}

fn privilege(call: &Call) -> Result<u8, Error> {
    let number = call.fields.number("Privilege")?;
    u8::try_from(number)
        .ok()
        .filter(|number| (1..=3).contains(number))
        .ok_or_else(|| wrong_value("Privilege", "is none of 1, 2 and 3"))
}

/// The product that a call names.
pub(super) fn product(vendor: &TencentIot, call: &Call) -> Result<Product, Error> {
    let id = call.product_id()?;
    let product = vendor.store.product(id);
    product.ok_or_else(|| Error::ProductNotExist(id.to_owned()))
}
