//! What is known of a value before it exists: its type, as far as that goes, and its size.

use std::fmt;

use crate::limits::Limits;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    /// Known at run time only: data, most attributes, and what mixes types.
    Any,
    Null,
    Bool,
    Int,
    Double,
    Text,
    Timestamp,
    Duration,
    List(Box<Type>),
    Map,
}

impl Type {
    pub(crate) fn list(of: Type) -> Type {
        Type::List(Box::new(of))
    }

    pub(crate) fn is_number(&self) -> bool {
        matches!(self, Type::Int | Type::Double)
    }

    /// Whether a value of this type could be one of the other.
    pub(crate) fn may_be(&self, other: &Type) -> bool {
        match (self, other) {
            (Type::Any, _) | (_, Type::Any) => true,
            (Type::List(left), Type::List(right)) => left.may_be(right),
            _ => self == other,
        }
    }

    /// Whether values of the two can be equal or not, rather than an error. Lists are compared by their elements, and
    /// those must be without parts.
    pub(crate) fn is_comparable(&self, other: &Type) -> bool {
        match (self, other) {
            (Type::Map, _) | (_, Type::Map) => false,
            (Type::List(left), Type::List(right)) => {
                !matches!(**left, Type::List(_)) && left.is_comparable(right)
            }
            _ => self.may_be(other) || (self.is_number() && other.is_number()),
        }
    }

    /// The type of what is one or the other.
    pub(crate) fn join(&self, other: &Type) -> Type {
        match (self, other) {
            (left, right) if left == right => left.clone(),
            (Type::List(left), Type::List(right)) => Type::list(left.join(right)),
            _ => Type::Any,
        }
    }

    /// Whether it can only be a string, a number or another value without parts.
    pub(crate) fn is_scalar(&self) -> bool {
        !matches!(self, Type::Any | Type::List(_) | Type::Map)
    }
}

impl fmt::Display for Type {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Type::Any => "dyn",
            Type::Null => "null",
            Type::Bool => "bool",
            Type::Int => "int",
            Type::Double => "double",
            Type::Text => "string",
            Type::Timestamp => "timestamp",
            Type::Duration => "duration",
            Type::Map => "map",
            Type::List(of) => return write!(formatter, "list({of})"),
        })
    }
}

/// Upper bounds of a value's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    /// Elements, if it is a list or a map.
    pub(crate) items: u64,
    /// Bytes of all text in it.
    pub(crate) bytes: u64,
    /// The loop variable it is a part of, by its depth. The elements of a list share its bytes, so what a loop
    /// looks at in all of them together is no more than the list.
    pub(crate) share: Option<usize>,
}

impl Size {
    pub(crate) const SCALAR: Size = Size { items: 0, bytes: 0, share: None };

    pub(crate) fn text(bytes: u64) -> Size {
        Size { items: 0, bytes, share: None }
    }

    pub(crate) fn data(limits: &Limits) -> Size {
        Size { items: limits.items, bytes: limits.event_bytes, share: None }
    }

    /// The bound of what is one or the other.
    pub(crate) fn join(self, other: Size) -> Size {
        Size {
            items: self.items.max(other.items),
            bytes: self.bytes.max(other.bytes),
            // Without bytes there is nothing to share: a default such as `[]` or `""` does not end the sharing.
            share: match (self.bytes, other.bytes) {
                (_, 0) => self.share,
                (0, _) => other.share,
                _ if self.share == other.share => self.share,
                _ => None,
            },
        }
    }

    pub(crate) fn plus(self, other: Size) -> Size {
        Size {
            items: self.items.saturating_add(other.items),
            bytes: self.bytes.saturating_add(other.bytes),
            share: None,
        }
    }
}
