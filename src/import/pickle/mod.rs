//! Python pickles, read as data.
//!
//! A pickle is a program for a stack machine that builds values and may call any function of any
//! Python module. Here nothing is ever called: only opcodes that build values are allowed, and a call
//! or an instance becomes a record of a name and arguments. [`Class::named`] lists the names that
//! have a meaning here; records of others are kept but never read.
//!
//! It is written here because crates for pickles neither refuse the other opcodes nor know
//! PyTorch's persistent references.
//!
//! Values live in one arena and refer to each other by index. A pickle may nest them as deeply as
//! it likes, share them and put one inside itself, without recursion or copies here. What they take
//! comes from the file's budget, and so does what is made of them.

mod machine;
#[cfg(test)]
mod tests;
mod text;
mod value;

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;

use super::budget::Budget;
use machine::Machine;
pub(super) use value::{Class, beginning};
use value::{Id, Value};

/// Longest key that a dictionary is asked for.
const MAX_KEY: usize = 64;

/// Entries of a dictionary above which its keys are indexed.
const INDEXED: usize = 16;

/// The values of a pickle.
#[derive(Debug)]
pub(super) struct Pickle<'a> {
    values: Vec<Value<'a>>,
    root: Id,
    length: usize,
    budget: Budget,
    /// Entries of the large dictionaries that were asked for a key, sorted by their texts.
    indices: RefCell<HashMap<Id, Vec<(Id, Id)>>>,
}

impl<'a> Pickle<'a> {
    /// Reads the pickle at the start of `bytes`, with a budget of its own.
    #[cfg(test)]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, String> {
        Self::within(bytes, &Budget::of(bytes.len()))
    }

    /// Reads the pickle at the start of `bytes`.
    ///
    /// # Errors
    /// The fault and its place: an opcode or a protocol that is not allowed, truncated data, an
    /// opcode without its operands on the stack, or more values than the budget allows.
    pub fn within(bytes: &'a [u8], budget: &Budget) -> Result<Self, String> {
        let mut machine = Machine::new(bytes, budget);
        loop {
            let at = machine.at();
            match machine.step() {
                Ok(Some(root)) => {
                    return Ok(Self {
                        length: machine.at(),
                        values: machine.values,
                        root,
                        budget: budget.clone(),
                        indices: RefCell::default(),
                    });
                }
                Ok(None) => {}
                Err(reason) => return Err(format!("at byte {at} of the pickle: {reason}")),
            }
        }
    }

    /// Length of the pickle in bytes.
    pub fn len(&self) -> usize {
        self.length
    }

    /// The value that was pickled.
    pub fn root(&self) -> Node<'_, 'a> {
        self.node(self.root)
    }

    fn node(&self, id: Id) -> Node<'_, 'a> {
        Node { pickle: self, id }
    }
}

/// A value of a pickle. `'p` is the pickle's life, `'a` that of the bytes it was read from.
#[derive(Clone, Copy)]
pub(super) struct Node<'p, 'a> {
    pickle: &'p Pickle<'a>,
    id: Id,
}

impl<'p, 'a> Node<'p, 'a> {
    fn value(self) -> &'p Value<'a> {
        // Ids are made together with values, and no value is ever removed.
        &self.pickle.values[self.id.0 as usize]
    }

    /// Equal for two nodes of a pickle if they are the same object.
    pub fn identity(self) -> u32 {
        self.id.0
    }

    /// What is left for reading the file.
    pub fn budget(self) -> &'p Budget {
        &self.pickle.budget
    }

    /// Takes `bytes` from the file's budget.
    pub fn take(self, bytes: usize) -> Result<(), String> {
        self.pickle.budget.take(bytes)
    }

    /// A string, of Python 2 or 3.
    pub fn text(self) -> Option<&'p str> {
        match self.value() {
            Value::Text(text) => Some(text),
            Value::OwnText(text) => Some(text),
            Value::Bytes(bytes) => std::str::from_utf8(bytes).ok(),
            Value::OwnBytes(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// An integer or truth value of at most 64 bits.
    pub fn int(self) -> Option<i64> {
        match self.value() {
            Value::Int(value) => Some(*value),
            Value::Bool(value) => Some((*value).into()),
            _ => None,
        }
    }

    /// An integer that is not negative.
    pub fn size(self) -> Option<usize> {
        self.int()?.try_into().ok()
    }

    /// A number or truth value.
    pub fn float(self) -> Option<f64> {
        match self.value() {
            Value::Float(value) => Some(*value),
            _ => self.int().map(|value| value as f64),
        }
    }

    /// Raw bytes, however they were written.
    pub fn bytes(self) -> Option<Cow<'a, [u8]>> {
        match self.value() {
            Value::Bytes(bytes) => Some(Cow::Borrowed(bytes)),
            Value::OwnBytes(bytes) => Some(Cow::Owned(bytes.to_vec())),
            Value::Object(object) => {
                let mut arguments = self.pickle.node(object.arguments).elements()?;
                let first = arguments.next();
                match object.class {
                    Class::Bytes if first.is_none() => Some(Cow::Borrowed(&[])),
                    // `bytearray(bytes)`, or the same as text in the encoding that follows.
                    Class::Bytes | Class::Encode => {
                        let text = match (first?.value(), arguments.next()) {
                            (Value::Bytes(bytes), None) => return Some(Cow::Borrowed(bytes)),
                            (Value::OwnBytes(bytes), None) => {
                                return Some(Cow::Owned(bytes.to_vec()));
                            }
                            (_, Some(encoding))
                                if ["latin1", "latin-1"].contains(&encoding.text()?) =>
                            {
                                match first?.value() {
                                    Value::Text(text) => text,
                                    Value::OwnText(text) => &**text,
                                    _ => return None,
                                }
                            }
                            _ => return None,
                        };
                        let bytes = text.chars().map(|c| u8::try_from(c).ok());
                        bytes.collect::<Option<Vec<u8>>>().map(Cow::Owned)
                    }
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// The same, and what is copied is taken from the budget.
    pub fn taken_bytes(self) -> Result<Option<Cow<'a, [u8]>>, String> {
        // Before the work: a budget that is spent ends it.
        self.take(1)?;
        let bytes = self.bytes();
        if let Some(Cow::Owned(bytes)) = &bytes {
            self.take(bytes.len())?;
        }
        Ok(bytes)
    }

    /// True for an integer of more than 64 bits with these bytes in two's complement, the lowest
    /// first.
    pub fn is_long_int(self, bytes: &[u8]) -> bool {
        matches!(self.value(), Value::LongInt(found) if *found == bytes)
    }

    /// The elements of a tuple, list or set.
    pub fn elements(self) -> Option<impl ExactSizeIterator<Item = Self>> {
        match self.value() {
            Value::Sequence(ids) => Some(ids.iter().map(move |&id| self.pickle.node(id))),
            _ => None,
        }
    }

    /// The elements of a tuple, list or set of `N`.
    pub fn array<const N: usize>(self) -> Option<[Self; N]> {
        match self.value() {
            Value::Sequence(ids) => {
                let ids: &[Id; N] = ids.as_slice().try_into().ok()?;
                Some(ids.map(|id| self.pickle.node(id)))
            }
            _ => None,
        }
    }

    /// The entries of a dictionary in order.
    pub fn entries(self) -> Option<impl DoubleEndedIterator<Item = (Self, Self)>> {
        match self.value() {
            Value::Dict(ids) => {
                let nodes = move |&(key, value)| (self.pickle.node(key), self.pickle.node(value));
                Some(ids.iter().map(nodes))
            }
            _ => None,
        }
    }

    /// The value of `key` in a dictionary.
    pub fn get(self, key: &str) -> Option<Self> {
        let Value::Dict(ids) = self.value() else {
            return None;
        };
        // A key that comes twice was overwritten.
        if ids.len() <= INDEXED {
            let found = self.entries()?.rev().find(|(k, _)| k.key() == Some(key));
            return found.map(|(_, value)| value);
        }
        // Searched once, however many values refer to this dictionary and are asked for a key.
        let mut indices = self.pickle.indices.borrow_mut();
        let text = |&(key, _): &(Id, Id)| self.pickle.node(key).key();
        let index = indices.entry(self.id).or_insert_with(|| {
            // If nothing is left, then nothing is found.
            let affordable = self.take(size_of_val(&**ids)).is_ok();
            let ids = ids.iter().filter(|_| affordable).copied();
            let mut index: Vec<_> = ids.filter(|entry| text(entry).is_some()).collect();
            index.sort_by_key(text);
            index
        });
        let end = index.partition_point(|entry| text(entry) <= Some(key));
        let last = index[..end].last().filter(|entry| text(entry) == Some(key));
        last.map(|&(_, value)| self.pickle.node(value))
    }

    /// A text that is short enough to be asked for.
    fn key(self) -> Option<&'p str> {
        match self.value() {
            Value::Bytes(bytes) if bytes.len() > MAX_KEY => None,
            Value::OwnBytes(bytes) if bytes.len() > MAX_KEY => None,
            _ => self.text().filter(|text| text.len() <= MAX_KEY),
        }
    }

    /// A class by itself.
    pub fn class(self) -> Option<Class<'a>> {
        match self.value() {
            Value::Class(class) => Some(**class),
            _ => None,
        }
    }

    /// The class or function of a call, its arguments, and the state set afterwards.
    pub fn object(self) -> Option<(Class<'a>, Self, Option<Self>)> {
        match self.value() {
            Value::Object(object) => Some((
                object.class,
                self.pickle.node(object.arguments),
                object.state.map(|id| self.pickle.node(id)),
            )),
            _ => None,
        }
    }

    /// The reference to data outside of the pickle.
    pub fn persistent(self) -> Option<Self> {
        match self.value() {
            Value::Persistent(id) => Some(self.pickle.node(*id)),
            _ => None,
        }
    }

    /// The kind of value, for messages.
    pub fn describe(self) -> String {
        match self.value() {
            Value::None => "None".into(),
            Value::Bool(value) => value.to_string(),
            Value::Int(value) => value.to_string(),
            Value::LongInt(bytes) => format!("an integer of {} bytes", bytes.len()),
            Value::Float(value) => value.to_string(),
            Value::Bytes(bytes) => described(bytes),
            Value::OwnBytes(bytes) => described(bytes),
            Value::Text(text) => format!("{:?}", beginning(text)),
            Value::OwnText(text) => format!("{:?}", beginning(text)),
            Value::Sequence(ids) => format!("a sequence of {}", ids.len()),
            Value::Dict(ids) => format!("a dictionary of {}", ids.len()),
            Value::Class(class) => format!("the class {class}"),
            Value::Object(object) => format!("an object of {}", object.class),
            Value::Persistent(_) => "a reference to data outside of the pickle".into(),
        }
    }
}

/// A string of Python 2 by its beginning, other bytes by their number.
fn described(bytes: &[u8]) -> String {
    let head = &bytes[..bytes.len().min(400)];
    let text = match std::str::from_utf8(head) {
        Ok(text) => Some(text),
        // The head may end within a character.
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&head[..error.valid_up_to()]).ok()
        }
        Err(_) => None,
    };
    match text {
        Some(text) => format!("{:?}", beginning(text)),
        None => format!("{} bytes", bytes.len()),
    }
}
