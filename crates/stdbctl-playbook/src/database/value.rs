//! Values as they come back from SQL, read by their type so that no digit is lost.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::ser::{SerializeMap as _, SerializeSeq as _};
use serde::{Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

/// A value of a column, or of a part of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell {
    /// An option without a value.
    Null,
    /// A truth value.
    Bool(bool),
    /// A number of any width, as the server has written it.
    Number(String),
    /// A text, and whatever is best read as one: an identity, a time.
    Text(String),
    /// The elements of an array.
    List(Vec<Cell>),
    /// The fields of a product.
    Fields(Vec<(String, Cell)>),
    /// A variant of a sum, with its payload if it has one.
    Variant(String, Option<Box<Cell>>),
}

impl Cell {
    /// Reads a value of a type, both as the server writes them. What does not fit the type is taken as it is.
    pub fn read(ty: &Value, raw: &RawValue) -> Self {
        typed(ty, raw).unwrap_or_else(|| untyped(raw))
    }

    /// Whether columns of it are best aligned at the right.
    pub fn is_number(&self) -> bool {
        matches!(self, Self::Number(_))
    }

    /// Inside of another value, where a text needs quotes.
    fn write_inner(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "{text:?}"),
            other => write!(f, "{other}"),
        }
    }
}

/// As people are shown it.
impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("-"),
            Self::Bool(value) => value.fmt(f),
            Self::Number(text) | Self::Text(text) => f.write_str(text),
            Self::List(cells) => {
                f.write_str("[")?;
                for (index, cell) in cells.iter().enumerate() {
                    f.write_str(if index == 0 { "" } else { ", " })?;
                    cell.write_inner(f)?;
                }
                f.write_str("]")
            }
            Self::Fields(fields) => {
                f.write_str("(")?;
                for (index, (name, cell)) in fields.iter().enumerate() {
                    f.write_str(if index == 0 { "" } else { ", " })?;
                    write!(f, "{name}: ")?;
                    cell.write_inner(f)?;
                }
                f.write_str(")")
            }
            Self::Variant(name, None) => f.write_str(name),
            Self::Variant(name, Some(payload)) => {
                write!(f, "{name}(")?;
                payload.write_inner(f)?;
                f.write_str(")")
            }
        }
    }
}

/// As programs read it: numbers with all their digits.
impl Serialize for Cell {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Number(text) => match RawValue::from_string(text.clone()) {
                Ok(number) => number.serialize(serializer),
                Err(_) => serializer.serialize_str(text),
            },
            Self::Text(text) => serializer.serialize_str(text),
            Self::List(cells) => {
                let mut list = serializer.serialize_seq(Some(cells.len()))?;
                cells.iter().try_for_each(|cell| list.serialize_element(cell))?;
                list.end()
            }
            Self::Fields(fields) => {
                let mut map = serializer.serialize_map(Some(fields.len()))?;
                fields.iter().try_for_each(|(name, cell)| map.serialize_entry(name, cell))?;
                map.end()
            }
            Self::Variant(name, None) => serializer.serialize_str(name),
            Self::Variant(name, Some(payload)) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry(name, payload)?;
                map.end()
            }
        }
    }
}

fn typed(ty: &Value, raw: &RawValue) -> Option<Cell> {
    let (kind, parts) = ty.as_object()?.iter().next()?;
    match kind.as_str() {
        "Array" => {
            // An array of bytes comes as its hex digits.
            if let Some(bytes) = text(raw) {
                return Some(Cell::Text(bytes));
            }
            let elements: Vec<&RawValue> = serde_json::from_str(raw.get()).ok()?;
            Some(Cell::List(elements.into_iter().map(|element| Cell::read(parts, element)).collect()))
        }
        "Product" => product(parts.get("elements")?.as_array()?, raw),
        "Sum" => sum(parts.get("variants")?.as_array()?, raw),
        _ => None,
    }
}

/// Fields come in order, or by name.
fn product(elements: &[Value], raw: &RawValue) -> Option<Cell> {
    let values: Vec<&RawValue> = if let Ok(values) = serde_json::from_str(raw.get()) {
        values
    } else {
        let by_name: HashMap<String, &RawValue> = serde_json::from_str(raw.get()).ok()?;
        let value = |(index, element)| by_name.get(&name(element, index)).copied();
        elements.iter().enumerate().map(value).collect::<Option<_>>()?
    };
    if values.len() != elements.len() {
        return None;
    }
    if let ([element], [value]) = (elements, values.as_slice())
        && let Some(special) = special(&name(element, 0), value)
    {
        return Some(special);
    }
    let field = |(index, (element, value)): (usize, (&Value, &&RawValue))| {
        (name(element, index), Cell::read(element.get("algebraic_type").unwrap_or(&Value::Null), value))
    };
    Some(Cell::Fields(elements.iter().zip(&values).enumerate().map(field).collect()))
}

/// A variant comes as `[TAG, PAYLOAD]`, or as `{"NAME": PAYLOAD}`.
fn sum(variants: &[Value], raw: &RawValue) -> Option<Cell> {
    let (tag, payload): (usize, &RawValue) = if let Ok(pair) = serde_json::from_str(raw.get()) {
        pair
    } else {
        let named: HashMap<String, &RawValue> = serde_json::from_str(raw.get()).ok()?;
        let (given, payload) = named.into_iter().next()?;
        let is_given = |(index, variant)| name(variant, index) == given;
        (variants.iter().enumerate().position(is_given)?, payload)
    };
    let variant = variants.get(tag)?;
    let ty = variant.get("algebraic_type").unwrap_or(&Value::Null);
    let payload = Cell::read(ty, payload);
    let is_empty = |cell: &Cell| matches!(cell, Cell::Fields(fields) if fields.is_empty());
    let names: Vec<_> = variants.iter().enumerate().map(|(index, variant)| name(variant, index)).collect();
    match (names.as_slice(), name(variant, tag)) {
        ([some, none], this) if some == "some" && none == "none" => {
            Some(if this == "some" { payload } else { Cell::Null })
        }
        (_, this) => Some(Cell::Variant(this, Some(Box::new(payload)).filter(|cell| !is_empty(cell)))),
    }
}

/// The name of a field or variant, or its place if it has none.
fn name(part: &Value, index: usize) -> String {
    let name = part.get("name").and_then(|name| name.get("some").unwrap_or(name).as_str());
    name.map_or_else(|| index.to_string(), str::to_owned)
}

/// The types that are made of one field and mean more than it.
fn special(field: &str, value: &RawValue) -> Option<Cell> {
    let words = match field {
        "__identity__" => text(value)?.trim_start_matches("0x").to_owned(),
        "__connection_id__" => format!("{:032x}", number(value)?),
        "__uuid__" => {
            let digits = format!("{:032x}", number(value)?);
            let parts =
                [0..8, 8..12, 12..16, 16..20, 20..32].map(|range| digits.get(range).unwrap_or_default());
            parts.join("-")
        }
        "__timestamp_micros_since_unix_epoch__" => {
            let micros: i64 = serde_json::from_str(value.get()).ok()?;
            Timestamp::from_microsecond(micros).ok()?.to_string()
        }
        "__time_duration_micros__" => {
            let micros: i64 = serde_json::from_str(value.get()).ok()?;
            format!("{:#}", SignedDuration::from_micros(micros))
        }
        _ => return None,
    };
    Some(Cell::Text(words))
}

/// A number without sign of up to 128 bits, which comes as digits or in hex.
fn number(value: &RawValue) -> Option<u128> {
    match text(value) {
        Some(hex) => u128::from_str_radix(hex.trim_start_matches("0x"), 16).ok(),
        None => serde_json::from_str(value.get()).ok(),
    }
}

fn text(value: &RawValue) -> Option<String> {
    serde_json::from_str(value.get()).ok()
}

fn untyped(raw: &RawValue) -> Cell {
    let json = raw.get().trim();
    match json.bytes().next() {
        Some(b'"') => Cell::Text(text(raw).unwrap_or_else(|| json.to_owned())),
        Some(b't' | b'f') => Cell::Bool(json == "true"),
        Some(b'n') | None => Cell::Null,
        Some(b'[') => match serde_json::from_str::<Vec<&RawValue>>(json) {
            Ok(elements) => Cell::List(elements.into_iter().map(untyped).collect()),
            Err(_) => Cell::Text(json.to_owned()),
        },
        Some(b'{') => match serde_json::from_str::<BTreeMap<String, &RawValue>>(json) {
            Ok(fields) => {
                Cell::Fields(fields.into_iter().map(|(name, value)| (name, untyped(value))).collect())
            }
            Err(_) => Cell::Text(json.to_owned()),
        },
        Some(_) => Cell::Number(json.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(ty: &Value, value: &str) -> Cell {
        Cell::read(ty, &RawValue::from_string(value.to_owned()).unwrap())
    }

    /// As people see it, and as programs do.
    fn shown(ty: &Value, value: &str) -> (String, String) {
        let cell = read(ty, value);
        (cell.to_string(), serde_json::to_string(&cell).unwrap())
    }

    fn both(human: &str, json: &str) -> (String, String) {
        (human.to_owned(), json.to_owned())
    }

    fn product(fields: &[(&str, Value)]) -> Value {
        let field = |(name, ty): &(&str, Value)| json!({"name": {"some": name}, "algebraic_type": ty});
        json!({"Product": {"elements": fields.iter().map(field).collect::<Vec<_>>()}})
    }

    fn sum(variants: &[(&str, Value)]) -> Value {
        let field = |(name, ty): &(&str, Value)| json!({"name": {"some": name}, "algebraic_type": ty});
        json!({"Sum": {"variants": variants.iter().map(field).collect::<Vec<_>>()}})
    }

    #[test]
    fn numbers_keep_all_their_digits() {
        for (ty, digits) in [
            ("U64", "18446744073709551615"),
            ("I128", "170141183460469231731687303715884105727"),
            ("F64", "0.1"),
        ] {
            assert_eq!(shown(&json!({ty: []}), digits), both(digits, digits));
        }
        assert_eq!(read(&json!({"U256": []}), "\"0x0f\""), Cell::Text("0x0f".to_owned()));
    }

    #[test]
    fn an_option_is_its_value_or_nothing() {
        let ty = sum(&[("some", json!({"Array": {"U16": []}})), ("none", product(&[]))]);
        assert_eq!(shown(&ty, "[0,[0,1]]"), both("[0, 1]", "[0,1]"));
        assert_eq!(shown(&ty, "[1,[]]"), both("-", "null"));
        assert_eq!(shown(&ty, r#"{"some":[2]}"#), both("[2]", "[2]"));
    }

    #[test]
    fn variants_and_fields_have_their_names() {
        let ty = sum(&[("Unused", product(&[])), ("BTree", json!({"Array": {"U16": []}}))]);
        assert_eq!(shown(&ty, "[1,[0]]"), both("BTree([0])", r#"{"BTree":[0]}"#));
        assert_eq!(shown(&ty, "[0,[]]"), both("Unused", r#""Unused""#));
        let ty = product(&[("x", json!({"I32": []})), ("name", json!({"String": []}))]);
        assert_eq!(
            shown(&ty, r#"[-1,"a\"b"]"#),
            both(r#"(x: -1, name: "a\"b")"#, r#"{"x":-1,"name":"a\"b"}"#)
        );
        assert_eq!(
            shown(&ty, r#"{"name":"n","x":2}"#),
            both(r#"(x: 2, name: "n")"#, r#"{"x":2,"name":"n"}"#)
        );
    }

    #[test]
    fn identities_and_times_are_read_as_people_write_them() {
        let one = |field: &str, ty: &str, value: &str| read(&product(&[(field, json!({ty: []}))]), value);
        let text = |text: &str| Cell::Text(text.to_owned());
        assert_eq!(one("__identity__", "U256", r#"["0xc200ab"]"#), text("c200ab"));
        assert_eq!(one("__identity__", "U256", r#"{"__identity__":"0xc200ab"}"#), text("c200ab"));
        assert_eq!(
            one("__connection_id__", "U128", "[340282366920938463463374607431768211455]"),
            text("ffffffffffffffffffffffffffffffff")
        );
        assert_eq!(
            one("__timestamp_micros_since_unix_epoch__", "I64", "[1795190467788871]"),
            text("2026-11-20T16:01:07.788871Z")
        );
        assert_eq!(one("__time_duration_micros__", "I64", "[1500000]"), text("1s 500ms"));
        assert_eq!(one("__uuid__", "U128", "[1]"), text("00000000-0000-0000-0000-000000000001"));
    }

    #[test]
    fn what_does_not_fit_its_type_is_shown_as_it_is() {
        let ty = product(&[("x", json!({"I32": []}))]);
        for value in ["3", "null", "[1,2]", "{}", "\"text\"", "[[]]"] {
            let cell = read(&ty, value);
            assert!(!cell.to_string().is_empty(), "{value}");
        }
        assert_eq!(read(&Value::Null, r#"{"a":[true]}"#).to_string(), "(a: [true])");
        assert_eq!(read(&json!({"Sum": {"variants": []}}), "[7,1]").to_string(), "[7, 1]");
    }
}
