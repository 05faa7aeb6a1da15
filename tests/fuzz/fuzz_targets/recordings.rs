#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;

const COLUMNS: &[&str] = &[
    "Timecode",
    "timeCode",
    "timestamp",
    "timestamp_ms",
    "time",
    "frame",
    "",
    "BlendshapeCount",
    "JawOpen",
    "jawOpen",
    "blendShapes.JawOpen",
    "_neutral",
    "HeadYaw",
    "HeadPitch",
    "tongueOut",
    "angry",
    "eyeBlinkLeft",
];

/// A table of columns with known names.
#[derive(Arbitrary, Debug)]
struct Table {
    columns: Vec<u8>,
    rows: Vec<Vec<Cell>>,
    style: u8,
}

#[derive(Arbitrary, Debug)]
enum Cell {
    Whole(i16),
    Number(i16),
    Exact(f32),
    Code([u8; 4]),
    Text(String),
    Empty,
}

fuzz_target!(|table: Table| {
    let delimiter = [",", ";", "\t"][usize::from(table.style) % 3];
    let decimal = if table.style & 4 == 0 { "." } else { "," };
    let cell = |cell: &Cell| match cell {
        Cell::Whole(value) => value.to_string(),
        Cell::Number(value) => (f32::from(*value) / 64.0).to_string().replace('.', decimal),
        Cell::Exact(value) => value.to_string(),
        Cell::Code([h, m, s, f]) => format!("{}:{}:{}:{}.5", h % 24, m % 60, s % 60, f % 60),
        Cell::Text(text) => text.clone(),
        Cell::Empty => String::new(),
    };
    let names = table.columns.iter().take(140);
    let names = names.map(|&i| COLUMNS[usize::from(i) % COLUMNS.len()].to_owned());
    let mut lines = vec![names.collect::<Vec<_>>().join(delimiter)];
    for row in &table.rows {
        let cells: Vec<String> = row.iter().map(cell).collect();
        lines.push(cells.join(delimiter));
    }
    let text = lines.join(if table.style & 8 == 0 { "\n" } else { "\r\n" });
    let file: Vec<u8> = match table.style >> 4 {
        0 => [b"\xEF\xBB\xBF", text.as_bytes()].concat(),
        1 => {
            let units = "\u{FEFF}".encode_utf16().chain(text.encode_utf16());
            units.flat_map(u16::to_le_bytes).collect()
        }
        _ => text.into_bytes(),
    };
    gpavatar_fuzz::motion(&file);
});
