//! The stack machine that runs a pickle.

use std::collections::HashMap;

use super::value::{Class, Id, Object, Value};

/// Largest number of values, more than real files have: it bounds the memory of a file of opcodes
/// alone.
pub(super) const MAX_VALUES: usize = 1 << 23;

pub(super) struct Machine<'a> {
    bytes: &'a [u8],
    rest: &'a [u8],
    pub values: Vec<Value<'a>>,
    stack: Vec<Id>,
    /// Heights of the stack at the marks.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
}

impl<'a> Machine<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            rest: bytes,
            values: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
        }
    }

    /// Number of bytes read.
    pub fn at(&self) -> usize {
        self.bytes.len() - self.rest.len()
    }

    /// Executes an opcode. The last one gives the result of the pickle.
    pub fn step(&mut self) -> Result<Option<Id>, String> {
        let [opcode] = self.take_array()?;
        match opcode {
            // PROTO
            0x80 => match self.take_array()? {
                [0..=5] => {}
                [version] => return Err(format!("expected protocol 0 to 5, found {version}")),
            },
            // FRAME: its length only helps to read ahead
            0x95 => drop(self.take_array::<8>()?),
            // STOP
            b'.' => return self.pop().map(Some),

            // NONE, NEWTRUE, NEWFALSE
            b'N' => self.push(Value::None)?,
            0x88 => self.push(Value::Bool(true))?,
            0x89 => self.push(Value::Bool(false))?,
            // BININT, BININT1, BININT2
            b'J' => {
                let value = i32::from_le_bytes(self.take_array()?);
                self.push(Value::Int(value.into()))?;
            }
            b'K' => {
                let [value] = self.take_array()?;
                self.push(Value::Int(value.into()))?;
            }
            b'M' => {
                let value = u16::from_le_bytes(self.take_array()?);
                self.push(Value::Int(value.into()))?;
            }
            // LONG1, LONG4
            0x8A => self.push_with(Self::length_u8, long_int)?,
            0x8B => self.push_with(Self::length_u32, long_int)?,
            // BINFLOAT, the one big-endian number
            b'G' => {
                let value = f64::from_be_bytes(self.take_array()?);
                self.push(Value::Float(value))?;
            }

            // SHORT_BINSTRING, BINSTRING, SHORT_BINBYTES, BINBYTES, BINBYTES8, BYTEARRAY8
            b'U' | b'C' => self.push_with(Self::length_u8, bytes_value)?,
            b'T' | b'B' => self.push_with(Self::length_u32, bytes_value)?,
            0x8E | 0x96 => self.push_with(Self::length_u64, bytes_value)?,
            // SHORT_BINUNICODE, BINUNICODE, BINUNICODE8
            0x8C => self.push_with(Self::length_u8, text_value)?,
            b'X' => self.push_with(Self::length_u32, text_value)?,
            0x8D => self.push_with(Self::length_u64, text_value)?,

            // EMPTY_TUPLE, EMPTY_LIST, EMPTY_SET
            b')' | b']' | 0x8F => self.push(Value::Sequence(Vec::new()))?,
            // TUPLE, LIST, FROZENSET
            b't' | b'l' | 0x91 => {
                let items = self.pop_to_mark()?;
                self.push(Value::Sequence(items))?;
            }
            // TUPLE1, TUPLE2, TUPLE3
            0x85..=0x87 => {
                let items = self.pop_items(usize::from(opcode - 0x84))?;
                self.push(Value::Sequence(items))?;
            }
            // APPEND, APPENDS, ADDITEMS
            b'a' => {
                let item = self.pop()?;
                self.append(vec![item])?;
            }
            b'e' | 0x90 => {
                let items = self.pop_to_mark()?;
                self.append(items)?;
            }
            // EMPTY_DICT, DICT, SETITEM, SETITEMS
            b'}' => self.push(Value::Dict(Vec::new()))?,
            b'd' => {
                let items = self.pop_to_mark()?;
                self.push(Value::Dict(Vec::new()))?;
                self.insert(items)?;
            }
            b's' => {
                let items = self.pop_items(2)?;
                self.insert(items)?;
            }
            b'u' => {
                let items = self.pop_to_mark()?;
                self.insert(items)?;
            }

            // GLOBAL, STACK_GLOBAL
            b'c' => {
                let (module, name) = (self.take_line()?, self.take_line()?);
                self.push(Value::Class(Class::named(module, name)))?;
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (Value::Text(module), Value::Text(name)) =
                    (self.value(module), self.value(name))
                else {
                    return Err("expected a text as the name of a class".into());
                };
                let class = Class::named(module, name);
                self.push(Value::Class(class))?;
            }
            // REDUCE, NEWOBJ, NEWOBJ_EX
            b'R' | 0x81 => {
                let (arguments, class) = (self.pop()?, self.pop()?);
                self.construct(class, arguments)?;
            }
            0x92 => {
                let (_keywords, arguments) = (self.pop()?, self.pop()?);
                let class = self.pop()?;
                self.construct(class, arguments)?;
            }
            // BUILD
            b'b' => {
                let state = self.pop()?;
                // Attributes of Python's own values are not read.
                if let Value::Object(object) = self.top()? {
                    object.state = Some(state);
                }
            }
            // BINPERSID
            b'Q' => {
                let id = self.pop()?;
                self.push(Value::Persistent(id))?;
            }

            // MARK, POP, POP_MARK, DUP
            b'(' => self.marks.push(self.stack.len()),
            b'0' if self.marks.last() == Some(&self.stack.len()) => drop(self.marks.pop()),
            b'0' => drop(self.pop()?),
            b'1' => drop(self.pop_to_mark()?),
            b'2' => {
                let id = self.peek()?;
                self.stack.push(id);
            }
            // BINGET, LONG_BINGET, BINPUT, LONG_BINPUT, MEMOIZE
            b'h' | b'j' => {
                let index = self.memo_index(opcode == b'h')?;
                let id = (self.memo.get(&index))
                    .ok_or_else(|| format!("expected entry {index} of the memo, found none"))?;
                self.stack.push(*id);
            }
            b'q' | b'r' => {
                let index = self.memo_index(opcode == b'q')?;
                let id = self.peek()?;
                self.memo.insert(index, id);
            }
            0x94 => {
                let id = self.peek()?;
                // There are not more entries than values, whose number is limited.
                self.memo.insert(self.memo.len() as u32, id);
            }
            other => {
                return Err(format!(
                    "opcode 0x{other:02x}, which is not one of those that only build values in \
                     protocols 2 to 5"
                ));
            }
        }
        Ok(None)
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or_else(|| {
            let rest = self.rest.len();
            format!("expected {count} more bytes, found {rest}")
        })?;
        self.rest = rest;
        Ok(taken)
    }

    fn take_array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        self.take(N).map(|taken| {
            let mut array = [0; N];
            array.copy_from_slice(taken);
            array
        })
    }

    /// Text up to the end of the line.
    fn take_line(&mut self) -> Result<&'a str, String> {
        let end = (self.rest.iter().position(|&byte| byte == b'\n'))
            .ok_or("expected the end of a line")?;
        let line = self.take(end)?;
        self.take(1)?;
        std::str::from_utf8(line).map_err(|error| error.to_string())
    }

    fn length_u8(&mut self) -> Result<usize, String> {
        self.take_array().map(|[length]| length.into())
    }

    fn length_u32(&mut self) -> Result<usize, String> {
        // A length that does not fit is longer than the rest, too.
        let length = u32::from_le_bytes(self.take_array()?);
        Ok(usize::try_from(length).unwrap_or(usize::MAX))
    }

    fn length_u64(&mut self) -> Result<usize, String> {
        let length = u64::from_le_bytes(self.take_array()?);
        Ok(usize::try_from(length).unwrap_or(usize::MAX))
    }

    fn memo_index(&mut self, short: bool) -> Result<u32, String> {
        match short {
            true => self.take_array().map(|[index]| index.into()),
            false => self.take_array().map(u32::from_le_bytes),
        }
    }

    /// Reads a length and that many bytes, and pushes their value.
    fn push_with(
        &mut self,
        length: fn(&mut Self) -> Result<usize, String>,
        value: fn(&'a [u8]) -> Result<Value<'a>, String>,
    ) -> Result<(), String> {
        let length = length(self)?;
        let value = value(self.take(length)?)?;
        self.push(value)
    }

    fn push(&mut self, value: Value<'a>) -> Result<(), String> {
        if self.values.len() >= MAX_VALUES {
            return Err(format!("more than {MAX_VALUES} values"));
        }
        self.stack.push(Id(self.values.len() as u32));
        self.values.push(value);
        Ok(())
    }

    /// The height below the topmost `count` items, all of which lie above the last mark.
    fn height_for(&self, count: usize) -> Result<usize, String> {
        let bottom = self.marks.last().copied().unwrap_or(0);
        let height = self.stack.len().checked_sub(count);
        height
            .filter(|&height| height >= bottom)
            .ok_or_else(|| "expected more items on the stack".into())
    }

    fn peek(&self) -> Result<Id, String> {
        let height = self.height_for(1)?;
        Ok(self.stack[height])
    }

    fn pop(&mut self) -> Result<Id, String> {
        let id = self.peek()?;
        self.stack.pop();
        Ok(id)
    }

    fn pop_items(&mut self, count: usize) -> Result<Vec<Id>, String> {
        let height = self.height_for(count)?;
        Ok(self.stack.split_off(height))
    }

    /// Pops the last mark and returns the items above it.
    fn pop_to_mark(&mut self) -> Result<Vec<Id>, String> {
        let mark = self.marks.pop();
        let mark = mark.ok_or("expected a mark on the stack, found none")?;
        Ok(self.stack.split_off(mark))
    }

    fn value(&self, id: Id) -> &Value<'a> {
        &self.values[id.0 as usize]
    }

    /// The value on top of the stack.
    fn top(&mut self) -> Result<&mut Value<'a>, String> {
        let id = self.peek()?;
        Ok(&mut self.values[id.0 as usize])
    }

    fn append(&mut self, items: Vec<Id>) -> Result<(), String> {
        match self.top()? {
            Value::Sequence(ids) => ids.extend(items),
            // The elements of an unknown class are not read.
            Value::Object(_) => {}
            _ => return Err("expected a list to append to".into()),
        }
        Ok(())
    }

    /// Inserts keys and values, which alternate.
    fn insert(&mut self, items: Vec<Id>) -> Result<(), String> {
        let (pairs, rest) = items.as_chunks();
        if !rest.is_empty() {
            return Err("expected a value for the last key of a dictionary".into());
        }
        match self.top()? {
            Value::Dict(ids) => ids.extend(pairs.iter().map(|&[key, value]| (key, value))),
            Value::Object(_) => {}
            _ => return Err("expected a dictionary to insert into".into()),
        }
        Ok(())
    }

    /// Pushes the result of a call if it is a plain value, otherwise a record of the call. Arguments
    /// are never copied: a call takes one byte, its arguments any number.
    fn construct(&mut self, callable: Id, arguments: Id) -> Result<(), String> {
        let Value::Sequence(items) = self.value(arguments) else {
            return Err("expected a tuple of arguments".into());
        };
        let class = match self.value(callable) {
            Value::Class(class) => *class,
            // The result of a call, called.
            Value::Object(object) => object.class,
            _ => return Err("expected a class or function to call".into()),
        };
        match (class, items.as_slice()) {
            (Class::Dict, []) => self.push(Value::Dict(Vec::new())),
            (Class::Sequence, []) => self.push(Value::Sequence(Vec::new())),
            (Class::Sequence, &[items]) if matches!(self.value(items), Value::Sequence(_)) => {
                self.stack.push(items);
                Ok(())
            }
            (Class::Reconstructor, &[class, ..]) => match self.value(class) {
                Value::Class(class) => self.push_object(*class, arguments),
                _ => Err("expected a class to instantiate".into()),
            },
            _ => self.push_object(class, arguments),
        }
    }

    fn push_object(&mut self, class: Class<'a>, arguments: Id) -> Result<(), String> {
        self.push(Value::Object(Box::new(Object {
            class,
            arguments,
            state: None,
        })))
    }
}

fn bytes_value(bytes: &[u8]) -> Result<Value<'_>, String> {
    Ok(Value::Bytes(bytes))
}

fn text_value(bytes: &[u8]) -> Result<Value<'_>, String> {
    std::str::from_utf8(bytes)
        .map(Value::Text)
        .map_err(|error| error.to_string())
}

fn long_int(bytes: &[u8]) -> Result<Value<'_>, String> {
    let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
    let mut extended = [if negative { 0xFF } else { 0 }; 8];
    Ok(match extended.get_mut(..bytes.len()) {
        Some(low) => {
            low.copy_from_slice(bytes);
            Value::Int(i64::from_le_bytes(extended))
        }
        None => Value::LongInt(bytes),
    })
}
