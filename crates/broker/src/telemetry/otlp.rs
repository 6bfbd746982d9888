//! What clients push (KIP-714): metrics of the OpenTelemetry protocol, `MetricsData` of
//! `opentelemetry/proto/metrics/v1/metrics.proto`, read from protobuf without building it.
//!
//! Only what Kafka's clients send is read: gauges and sums of numbers, with attributes. A reader of
//! its own rather than `prost`: a message is a few nested fields, and a tree of it would take a
//! hundred times the bytes of a hostile push, of which a bounded number of points is kept.

/// A number measured by a client.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Point<'a> {
    /// The metric's name, such as `org.apache.kafka.producer.record.send.total`.
    pub(crate) name: &'a str,
    pub(crate) kind: Kind,
    pub(crate) value: f64,
    /// Attributes of the point, in the order sent.
    pub(crate) attributes: Vec<(&'a str, String)>,
}

/// What a number means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A value now.
    Gauge,
    /// A sum since the client started.
    Total,
    /// What came to a sum since the last push.
    Delta,
}

/// The bytes are no such message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the metrics are not an OpenTelemetry MetricsData message: {0}")]
pub(crate) struct OtlpError(&'static str);

/// Most attributes of a point that are kept.
const ATTRIBUTES_MAX: usize = 16;

/// Calls `each` for every number of a message.
///
/// # Errors
/// The bytes are not such a message. `each` was called for what came before.
pub(crate) fn read(bytes: &[u8], each: &mut dyn FnMut(Point<'_>)) -> Result<(), OtlpError> {
    for resource in nested(bytes, 1) {
        for scope in nested(resource?, 2) {
            for metric in nested(scope?, 2) {
                read_metric(metric?, each)?;
            }
        }
    }
    Ok(())
}

fn read_metric(bytes: &[u8], each: &mut dyn FnMut(Point<'_>)) -> Result<(), OtlpError> {
    let mut name = "";
    for field in Fields(bytes) {
        if let (1, Value::Bytes(text)) = field? {
            name = self::text(text)?;
        }
    }
    for field in Fields(bytes) {
        match field? {
            (5, Value::Bytes(gauge)) => read_points(gauge, (name, Kind::Gauge), each)?,
            (7, Value::Bytes(sum)) => {
                let (mut is_delta, mut is_monotonic) = (false, false);
                for field in Fields(sum) {
                    match field? {
                        (2, Value::Varint(temporality)) => is_delta = temporality == 1,
                        (3, Value::Varint(monotonic)) => is_monotonic = monotonic != 0,
                        _ => {}
                    }
                }
                let kind = match (is_monotonic, is_delta) {
                    (_, true) => Kind::Delta,
                    (true, false) => Kind::Total,
                    (false, false) => Kind::Gauge,
                };
                read_points(sum, (name, kind), each)?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn read_points(
    bytes: &[u8],
    (name, kind): (&str, Kind),
    each: &mut dyn FnMut(Point<'_>),
) -> Result<(), OtlpError> {
    for point in nested(bytes, 1) {
        let (mut value, mut attributes) = (None, Vec::new());
        for field in Fields(point?) {
            match field? {
                (4, Value::Fixed64(bits)) => value = Some(f64::from_bits(bits)),
                (6, Value::Fixed64(bits)) => value = Some(bits.cast_signed() as f64),
                (7, Value::Bytes(pair)) if attributes.len() < ATTRIBUTES_MAX => {
                    attributes.extend(read_attribute(pair)?);
                }
                _ => {}
            }
        }
        if let Some(value) = value {
            each(Point { name, kind, value, attributes });
        }
    }
    Ok(())
}

/// A key with a plain value; `None` for lists and the like.
fn read_attribute(bytes: &[u8]) -> Result<Option<(&str, String)>, OtlpError> {
    let (mut key, mut value) = ("", None);
    for field in Fields(bytes) {
        match field? {
            (1, Value::Bytes(bytes)) => key = text(bytes)?,
            (2, Value::Bytes(any)) => {
                for field in Fields(any) {
                    match field? {
                        (1, Value::Bytes(bytes)) => value = Some(text(bytes)?.to_owned()),
                        (2, Value::Varint(flag)) => value = Some((flag != 0).to_string()),
                        (3, Value::Varint(number)) => {
                            value = Some(number.cast_signed().to_string());
                        }
                        (4, Value::Fixed64(bits)) => {
                            value = Some(f64::from_bits(bits).to_string());
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    Ok(value.map(|value| (key, value)))
}

fn text(bytes: &[u8]) -> Result<&str, OtlpError> {
    std::str::from_utf8(bytes).map_err(|_| OtlpError("a text is not UTF-8"))
}

/// The messages in one field, in order.
fn nested(bytes: &[u8], number: u64) -> impl Iterator<Item = Result<&[u8], OtlpError>> {
    Fields(bytes).filter_map(move |field| match field {
        Ok((found, Value::Bytes(bytes))) if found == number => Some(Ok(bytes)),
        Ok(_) => None,
        Err(error) => Some(Err(error)),
    })
}

/// A field's value, by its wire type.
enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32,
}

/// The fields of a message with their numbers. Ends after an error.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn varint(&mut self) -> Result<u64, OtlpError> {
        let mut value = 0;
        for shift in (0..70).step_by(7) {
            let (first, rest) = self.0.split_first().ok_or(OtlpError("it ends inside a number"))?;
            self.0 = rest;
            value |= u64::from(first & 0x7f).checked_shl(shift).unwrap_or(0);
            if *first < 0x80 {
                return Ok(value);
            }
        }
        Err(OtlpError("a number has more than ten bytes"))
    }

    fn take(&mut self, count: u64) -> Result<&'a [u8], OtlpError> {
        let split = usize::try_from(count).ok().and_then(|count| self.0.split_at_checked(count));
        let (taken, rest) = split.ok_or(OtlpError("a field is longer than its message"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn field(&mut self) -> Result<(u64, Value<'a>), OtlpError> {
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => {
                let bytes = self.take(8)?.try_into().unwrap_or_default();
                Value::Fixed64(u64::from_le_bytes(bytes))
            }
            2 => {
                let len = self.varint()?;
                Value::Bytes(self.take(len)?)
            }
            5 => {
                self.take(4)?;
                Value::Fixed32
            }
            _ => return Err(OtlpError("a field has a wire type that there is not")),
        };
        Ok((tag >> 3, value))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>), OtlpError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn varint(mut value: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        while value >= 0x80 {
            bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        bytes.push(value as u8);
        bytes
    }

    fn field(number: u64, parts: &[&[u8]]) -> Vec<u8> {
        let body = parts.concat();
        [varint(number << 3 | 2), varint(body.len() as u64), body].concat()
    }

    fn number(number: u64, value: u64) -> Vec<u8> {
        [varint(number << 3), varint(value)].concat()
    }

    fn fixed(number: u64, bits: u64) -> Vec<u8> {
        [varint(number << 3 | 1), bits.to_le_bytes().to_vec()].concat()
    }

    fn point(value: f64, attributes: &[(&str, &str)]) -> Vec<u8> {
        let mut body = fixed(4, value.to_bits());
        for (key, value) in attributes {
            let any = field(2, &[&field(1, &[value.as_bytes()])]);
            body.extend(field(7, &[&field(1, &[key.as_bytes()]), &any]));
        }
        field(1, &[&body])
    }

    /// A message with one sum of one point.
    pub(crate) fn sum(name: &str, value: f64, is_delta: bool) -> Vec<u8> {
        let temporality = number(2, if is_delta { 1 } else { 2 });
        let sum = field(7, &[&point(value, &[("node", "1")]), &temporality, &number(3, 1)]);
        metric(&[&field(1, &[name.as_bytes()]), &sum])
    }

    fn metric(parts: &[&[u8]]) -> Vec<u8> {
        field(1, &[&field(2, &[&field(2, parts)])])
    }

    fn all(bytes: &[u8]) -> Result<Vec<(String, Kind, f64, usize)>, OtlpError> {
        let mut found = Vec::new();
        read(bytes, &mut |point| {
            let attributes = point.attributes.len();
            found.push((point.name.to_owned(), point.kind, point.value, attributes));
        })?;
        Ok(found)
    }

    #[test]
    fn gauges_and_sums_are_read_with_their_attributes() {
        let gauge = field(5, &[&point(1.5, &[("a", "x"), ("b", "y")]), &point(2.0, &[])]);
        let integer = field(5, &[&field(1, &[&fixed(6, (-7i64).cast_unsigned())])]);
        let bytes = [
            metric(&[&gauge, &field(1, &[b"g"])]),
            metric(&[&field(1, &[b"i"]), &integer]),
            sum("d", 3.0, true),
            sum("t", 4.0, false),
        ];
        let point =
            |name: &str, kind, value, attributes| (name.to_owned(), kind, value, attributes);
        let want = vec![
            point("g", Kind::Gauge, 1.5, 2),
            point("g", Kind::Gauge, 2.0, 0),
            point("i", Kind::Gauge, -7.0, 0),
            point("d", Kind::Delta, 3.0, 1),
            point("t", Kind::Total, 4.0, 1),
        ];
        assert_eq!(all(&bytes.concat()), Ok(want));
    }

    #[test]
    fn what_is_cut_short_is_refused_at_every_byte_and_garbage_does_not_panic() {
        let bytes = sum("name", 3.0, true);
        for end in 1..bytes.len() {
            assert!(all(&bytes[..end]).is_err(), "cut at {end}");
        }
        for byte in 0..=u8::MAX {
            let _ = all(&[byte; 40]);
            for at in 0..bytes.len() {
                let mut changed = bytes.clone();
                changed[at] = byte;
                let _ = all(&changed);
            }
        }
        assert_eq!(all(&[]), Ok(Vec::new()));
    }
}
