//! The rows with their columns' names, which are those of llm-proxy v1, and two of
//! our own: `cost` and `model_requested`.

use crate::config::prices::{Price, fields};
use crate::control_plane::store::logs::table::{Column, Kind, Table, Value};

/// A row of one of the tables.
pub trait Row: Sized {
    const TABLE: &'static Table;

    /// In the order of the columns.
    fn values(self) -> Vec<Value>;

    /// A cell of another kind than its column counts as null.
    fn of(id: i64, values: Vec<Value>) -> Self;

    fn column(name: &str) -> Option<&'static Column> {
        Self::TABLE.columns.iter().find(|column| column.name == name)
    }
}

/// A type that a column may have.
trait Cell: Default {
    fn put(self) -> Value;
    fn take(value: Value) -> Self;
}

macro_rules! cells {
    ($($type:ty, $variant:ident;)*) => { $(
        impl Cell for $type {
            fn put(self) -> Value {
                Value::$variant(self)
            }

            fn take(value: Value) -> $type {
                match value {
                    Value::$variant(value) => value,
                    _ => <$type>::default(),
                }
            }
        }

        impl Cell for Option<$type> {
            fn put(self) -> Value {
                self.map_or(Value::Null, Value::$variant)
            }

            fn take(value: Value) -> Option<$type> {
                match value {
                    Value::$variant(value) => Some(value),
                    _ => None,
                }
            }
        }
    )* };
}

cells! {
    i64, Number;
    f64, Real;
    String, Text;
    bool, Flag;
}

macro_rules! table {
    ($(#[$doc:meta])* $name:ident = $table:literal, $key:expr, { $( $(#[$note:meta])* $field:ident : $type:ty, $kind:ident; )* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Default, PartialEq)]
        pub struct $name {
            /// The store's choice.
            pub id: i64,
            $( $(#[$note])* pub $field: $type, )*
        }

        impl Row for $name {
            const TABLE: &'static Table = &Table {
                name: $table,
                columns: &[ $( Column { name: stringify!($field), kind: Kind::$kind }, )* ],
                key: $key,
            };

            fn values(self) -> Vec<Value> {
                vec![ $( Cell::put(self.$field), )* ]
            }

            fn of(id: i64, values: Vec<Value>) -> $name {
                let mut values = values.into_iter();
                $name { id, $( $field: Cell::take(values.next().unwrap_or(Value::Null)), )* }
            }
        }
    };
}

table! {
    /// A finished request.
    RequestRow = "request_logs", None, {
        /// Microseconds since 1970.
        timestamp: i64, Time;
        request_id: String, Text;
        endpoint: Option<String>, Text;
        credential_name: Option<String>, Text;
        model_requested: Option<String>, Text;
        model_mapped: Option<String>, Text;
        provider_name: Option<String>, Text;
        provider_type: Option<String>, Text;
        client_protocol: Option<String>, Text;
        provider_protocol: Option<String>, Text;
        is_streaming: bool, Flag;
        status_code: Option<i64>, Number;
        input_tokens: i64, Number;
        output_tokens: i64, Number;
        total_tokens: i64, Number;
        total_duration_ms: Option<i64>, Number;
        ttft_ms: Option<i64>, Number;
        error_category: Option<String>, Text;
        error_message: Option<String>, Text;
        request_body: Option<String>, Body;
        response_body: Option<String>, Body;
        /// A JSON object.
        request_headers: Option<String>, Text;
        /// Billionths of a dollar; none where no price is known.
        cost: Option<i64>, Number;
        /// The session that the client names.
        session: Option<String>, Text;
        /// In alphabetical order, with commas around each: `,a,b,`.
        tags: Option<String>, Text;
        /// A JSON object: where the time went, each attempt, what the translation left out.
        trace: Option<String>, Body;
    }
}

table! {
    /// A try at a provider that failed, or a request that failed without one.
    ErrorRow = "error_logs", None, {
        /// Microseconds since 1970.
        timestamp: i64, Time;
        request_id: String, Text;
        error_category: String, Text;
        error_code: Option<i64>, Number;
        error_message: Option<String>, Text;
        endpoint: Option<String>, Text;
        client_protocol: Option<String>, Text;
        request_headers: Option<String>, Json;
        request_body: Option<String>, Json;
        provider_name: Option<String>, Text;
        provider_api_base: Option<String>, Text;
        provider_protocol: Option<String>, Text;
        mapped_model: Option<String>, Text;
        response_status_code: Option<i64>, Number;
        response_body: Option<String>, Json;
        total_duration_ms: Option<i64>, Number;
        credential_name: Option<String>, Text;
        client: Option<String>, Text;
        is_streaming: bool, Flag;
        provider_request_body: Option<String>, Json;
        provider_request_headers: Option<String>, Json;
        model_requested: Option<String>, Text;
    }
}

table! {
    /// The price of a model, in dollars per million tokens. `None` is unknown, not free.
    PriceRow = "prices", Some("model"), {
        /// A name or a pattern; see `config::prices`.
        model: String, Text;
        input: Option<f64>, Real;
        output: Option<f64>, Real;
        cache_read: Option<f64>, Real;
        cache_write_5m: Option<f64>, Real;
        cache_write_1h: Option<f64>, Real;
        reasoning: Option<f64>, Real;
        /// The other prices, as `config::prices::fields` reads them.
        more: Option<String>, Text;
    }
}

impl PriceRow {
    /// Makes the row of a model's price.
    pub fn priced(model: String, price: &Price) -> PriceRow {
        PriceRow {
            id: 0,
            model,
            input: price.input,
            output: price.output,
            cache_read: price.cache_read,
            cache_write_5m: price.cache_write_5m,
            cache_write_1h: price.cache_write_1h,
            reasoning: price.reasoning,
            more: fields::write_more(price),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_there_and_back() {
        let row = RequestRow {
            id: 7,
            timestamp: 5,
            request_id: "r".into(),
            is_streaming: true,
            cost: Some(9),
            ..RequestRow::default()
        };
        assert_eq!(RequestRow::of(7, row.clone().values()), row);
        assert_eq!(RequestRow::of(7, Vec::new()), RequestRow { id: 7, ..RequestRow::default() });
        assert_eq!(RequestRow::column("cost").unwrap().kind, Kind::Number);
        assert!(ErrorRow::column("id").is_none());
    }
}
