//! The stack machine that runs a pickle.

use std::collections::HashMap;

use super::super::budget::Budget;
use super::text;
use super::value::{Class, Id, Object, Value};

/// Integers that are one value each, however often a pickle has them: those of one byte.
const SHARED: u32 = 256;
const NONE: Id = Id(SHARED);
const FALSE: Id = Id(SHARED + 1);
const TRUE: Id = Id(SHARED + 2);

pub(super) struct Machine<'a, 'b> {
    bytes: &'a [u8],
    rest: &'a [u8],
    pub values: Vec<Value<'a>>,
    stack: Vec<Id>,
    /// Heights of the stack at the marks.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
    budget: &'b Budget,
}

impl<'a, 'b> Machine<'a, 'b> {
    pub fn new(bytes: &'a [u8], budget: &'b Budget) -> Self {
        let integers = (0..SHARED).map(|value| Value::Int(value.into()));
        let others = [Value::None, Value::Bool(false), Value::Bool(true)];
        Self {
            bytes,
            rest: bytes,
            values: integers.chain(others).collect(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            budget,
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
            b'N' => self.push_id(NONE)?,
            0x88 => self.push_id(TRUE)?,
            0x89 => self.push_id(FALSE)?,
            // BININT, BININT1, BININT2
            b'J' => {
                let value = i32::from_le_bytes(self.take_array()?);
                self.push(Value::Int(value.into()))?;
            }
            b'K' => {
                let [value] = self.take_array()?;
                self.push_id(Id(value.into()))?;
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
            // INT, which may be a truth value, LONG, FLOAT
            b'I' | b'L' => {
                let line = self.take_line()?;
                match (opcode, line) {
                    (b'I', "00") => self.push_id(FALSE)?,
                    (b'I', "01") => self.push_id(TRUE)?,
                    _ => {
                        let number = line.strip_suffix('L').unwrap_or(line).parse();
                        let number = number.map_err(|_| not_a_number(line))?;
                        self.push(Value::Int(number))?;
                    }
                }
            }
            b'F' => {
                let line = self.take_line()?;
                let number = line.parse().map_err(|_| not_a_number(line))?;
                self.push(Value::Float(number))?;
            }

            // SHORT_BINSTRING, BINSTRING, SHORT_BINBYTES, BINBYTES, BINBYTES8, BYTEARRAY8
            b'U' | b'C' => self.push_with(Self::length_u8, bytes_value)?,
            b'T' | b'B' => self.push_with(Self::length_u32, bytes_value)?,
            0x8E | 0x96 => self.push_with(Self::length_u64, bytes_value)?,
            // SHORT_BINUNICODE, BINUNICODE, BINUNICODE8
            0x8C => self.push_with(Self::length_u8, text_value)?,
            b'X' => self.push_with(Self::length_u32, text_value)?,
            0x8D => self.push_with(Self::length_u64, text_value)?,

            // STRING, UNICODE
            b'S' => {
                let line = self.take_line_bytes()?;
                self.budget.take(line.len())?;
                self.push(Value::OwnBytes(text::quoted(line)?.into()))?;
            }
            b'V' => {
                let line = self.take_line_bytes()?;
                self.budget.take(2 * line.len())?;
                self.push(Value::OwnText(text::unescaped(line)?.into()))?;
            }

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
                self.append(&[item])?;
            }
            b'e' | 0x90 => {
                let items = self.pop_to_mark()?;
                self.append(&items)?;
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
                self.push_class(Class::named(module, name))?;
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (Value::Text(module), Value::Text(name)) =
                    (self.value(module), self.value(name))
                else {
                    return Err("expected a text as the name of a class".into());
                };
                let class = Class::named(module, name);
                self.push_class(class)?;
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
            // INST, OBJ: the oldest classes of Python 2
            b'i' => {
                let (module, name) = (self.take_line()?, self.take_line()?);
                let items = self.pop_to_mark()?;
                let arguments = self.add(Value::Sequence(items))?;
                self.push_object(Class::named(module, name), arguments)?;
            }
            b'o' => {
                let mut items = self.pop_to_mark()?.into_iter();
                let class = items.next().ok_or("expected a class to instantiate")?;
                let arguments = self.add(Value::Sequence(items.collect()))?;
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
            // PERSID, BINPERSID
            b'P' => {
                let line = self.take_line()?;
                let id = self.add(Value::Text(line))?;
                self.push(Value::Persistent(id))?;
            }
            b'Q' => {
                let id = self.pop()?;
                self.push(Value::Persistent(id))?;
            }

            // MARK, POP, POP_MARK, DUP
            b'(' => {
                self.budget.take(size_of::<usize>())?;
                grow(&mut self.marks);
                self.marks.push(self.stack.len());
            }
            b'0' if self.marks.last() == Some(&self.stack.len()) => drop(self.marks.pop()),
            b'0' => drop(self.pop()?),
            b'1' => drop(self.pop_to_mark()?),
            b'2' => {
                let id = self.peek()?;
                self.push_id(id)?;
            }
            // GET, BINGET, LONG_BINGET, PUT, BINPUT, LONG_BINPUT, MEMOIZE
            b'g' | b'h' | b'j' => {
                let index = self.memo_index(opcode)?;
                let id = (self.memo.get(&index))
                    .ok_or_else(|| format!("expected entry {index} of the memo, found none"))?;
                self.push_id(*id)?;
            }
            b'p' | b'q' | b'r' => {
                let index = self.memo_index(opcode)?;
                self.memorise(index)?;
            }
            // The budget keeps the memo far below what an index counts.
            0x94 => self.memorise(self.memo.len() as u32)?,
            other => {
                return Err(format!(
                    "opcode 0x{other:02x}, which is not one of those that only build values in \
                     protocols 0 to 5"
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
        let line = self.take_line_bytes()?;
        std::str::from_utf8(line).map_err(|error| error.to_string())
    }

    fn take_line_bytes(&mut self) -> Result<&'a [u8], String> {
        let end = (self.rest.iter().position(|&byte| byte == b'\n'))
            .ok_or("expected the end of a line")?;
        let line = self.take(end)?;
        self.take(1)?;
        Ok(line)
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

    fn memo_index(&mut self, opcode: u8) -> Result<u32, String> {
        match opcode {
            b'g' | b'p' => {
                let line = self.take_line()?;
                line.parse().map_err(|_| not_a_number(line))
            }
            b'h' | b'q' => self.take_array().map(|[index]| index.into()),
            _ => self.take_array().map(u32::from_le_bytes),
        }
    }

    fn memorise(&mut self, index: u32) -> Result<(), String> {
        let id = self.peek()?;
        // A hash table has up to twice as many places as entries.
        self.budget.take(2 * size_of::<(u32, Id)>())?;
        self.memo.insert(index, id);
        Ok(())
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
        let id = self.add(value)?;
        self.push_id(id)
    }

    fn push_id(&mut self, id: Id) -> Result<(), String> {
        self.budget.take(size_of::<Id>())?;
        grow(&mut self.stack);
        self.stack.push(id);
        Ok(())
    }

    fn push_class(&mut self, class: Class<'a>) -> Result<(), String> {
        self.budget.take(size_of::<Class>())?;
        self.push(Value::Class(Box::new(class)))
    }

    /// Adds a value that is not on the stack.
    fn add(&mut self, value: Value<'a>) -> Result<Id, String> {
        self.budget.take(size_of::<Value>())?;
        let id = u32::try_from(self.values.len()).map_err(|_| "more than 2^32 values")?;
        grow(&mut self.values);
        self.values.push(value);
        Ok(Id(id))
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
        self.split_off(height)
    }

    /// Pops the last mark and returns the items above it.
    fn pop_to_mark(&mut self) -> Result<Vec<Id>, String> {
        let mark = self.marks.pop();
        let mark = mark.ok_or("expected a mark on the stack, found none")?;
        self.split_off(mark)
    }

    fn split_off(&mut self, height: usize) -> Result<Vec<Id>, String> {
        let items = &self.stack[height..];
        // The vector, its allocation, and the items.
        self.budget
            .take(2 * size_of::<Vec<Id>>() + size_of_val(items))?;
        let items = items.to_vec();
        self.stack.truncate(height);
        Ok(items)
    }

    fn value(&self, id: Id) -> &Value<'a> {
        &self.values[id.0 as usize]
    }

    /// The value on top of the stack.
    fn top(&mut self) -> Result<&mut Value<'a>, String> {
        let id = self.peek()?;
        Ok(&mut self.values[id.0 as usize])
    }

    fn append(&mut self, items: &[Id]) -> Result<(), String> {
        self.budget.take(size_of_val(items))?;
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
        self.budget.take(size_of_val(pairs))?;
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
            Value::Class(class) => **class,
            // The result of a call, called.
            Value::Object(object) => object.class,
            _ => return Err("expected a class or function to call".into()),
        };
        match (class, items.as_slice()) {
            (Class::Dict, []) => self.push(Value::Dict(Vec::new())),
            (Class::Sequence, []) => self.push(Value::Sequence(Vec::new())),
            (Class::Sequence, &[items]) if matches!(self.value(items), Value::Sequence(_)) => {
                self.push_id(items)
            }
            (Class::Reconstructor, &[class, ..]) => match self.value(class) {
                Value::Class(class) => self.push_object(**class, arguments),
                _ => Err("expected a class to instantiate".into()),
            },
            _ => self.push_object(class, arguments),
        }
    }

    fn push_object(&mut self, class: Class<'a>, arguments: Id) -> Result<(), String> {
        self.budget.take(size_of::<Object>())?;
        self.push(Value::Object(Box::new(Object {
            class,
            arguments,
            state: None,
        })))
    }
}

/// Makes room for one more, a quarter at a time: doubling might take twice what is needed.
fn grow<T>(items: &mut Vec<T>) {
    if items.len() == items.capacity() {
        items.reserve_exact(items.len() / 4 + 64);
    }
}

fn not_a_number(line: &str) -> String {
    format!(
        "expected a number in a line, found {:?}",
        super::beginning(line)
    )
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
