//! The escapes of text in protocol 0.

/// The bytes of a `STRING` line: a literal of Python 2, in quotes.
pub(super) fn quoted(line: &[u8]) -> Result<Vec<u8>, String> {
    let inner = match line {
        [b'\'', inner @ .., b'\''] | [b'"', inner @ .., b'"'] => inner,
        _ => return Err("expected a string in quotes".into()),
    };
    let mut bytes = Vec::with_capacity(inner.len());
    let mut rest = inner;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        let (&escape, after) =
            (rest.split_first()).ok_or("expected an escape after a backslash")?;
        rest = after;
        let decoded = match escape {
            b'\\' | b'\'' | b'"' => escape,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'a' => 7,
            b'b' => 8,
            b'v' => 11,
            b'f' => 12,
            b'x' => hexadecimal(&mut rest, 2)? as u8,
            b'0'..=b'7' => {
                let mut value = u32::from(escape - b'0');
                for _ in 0..2 {
                    let Some((digit @ b'0'..=b'7', after)) = rest.split_first() else {
                        break;
                    };
                    value = value * 8 + u32::from(digit - b'0');
                    rest = after;
                }
                value as u8
            }
            other => {
                bytes.push(b'\\');
                other
            }
        };
        bytes.push(decoded);
    }
    Ok(bytes)
}

/// The text of a `UNICODE` line: Latin-1, and the rest as `\u` and four or `\U` and eight digits.
pub(super) fn unescaped(line: &[u8]) -> Result<String, String> {
    let mut text = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        let digits = match (byte, rest.first()) {
            (b'\\', Some(b'u')) => 4,
            (b'\\', Some(b'U')) => 8,
            _ => {
                text.push(byte.into());
                continue;
            }
        };
        rest = &rest[1..];
        let code = hexadecimal(&mut rest, digits)?;
        let letter = char::from_u32(code);
        text.push(letter.ok_or_else(|| format!("expected a character, found {code:#x}"))?);
    }
    Ok(text)
}

fn hexadecimal(rest: &mut &[u8], digits: usize) -> Result<u32, String> {
    let (number, after) = (rest.split_at_checked(digits))
        .ok_or_else(|| format!("expected {digits} hexadecimal digits after a backslash"))?;
    *rest = after;
    number.iter().try_fold(0, |value, &digit| {
        let digit = char::from(digit).to_digit(16);
        let digit = digit.ok_or_else(|| "expected a hexadecimal digit".to_owned())?;
        Ok(value << 4 | digit)
    })
}
