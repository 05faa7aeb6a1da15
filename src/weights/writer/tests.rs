use super::*;
use crate::error::refused;
use crate::file::Scratch;

/// One tensor of each type, the narrow ones of odd length, and two of the metadata.
fn example<'a>() -> TensorWriter<'a> {
    let metadata = [("licence", "CC0-1.0"), ("name", "An \"example\" \u{1F600}")];
    let metadata = metadata.map(|(key, value)| (key.into(), value.into()));
    let mut writer = TensorWriter::new(metadata.into());
    let values = || Ok(Cow::Borrowed([1.0, -0.5, 1.0e-3].as_slice()));
    writer.floats("half", &[3], FloatFormat::F16, values);
    writer.floats("brain", &[3, 1], FloatFormat::Bf16, values);
    writer.floats("single", &[1, 3], FloatFormat::F32, values);
    let nothing = || Ok(Cow::Borrowed([].as_slice()));
    writer.floats("empty", &[0, 2], FloatFormat::F32, nothing);
    writer.ints("int", &[2], &[i32::MIN, 7]);
    writer.bytes("byte", &[3], &[0, 7, 255]);
    writer
}

#[test]
fn the_safetensors_crate_reads_what_is_written() {
    let bytes = example().into_bytes().unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut names = file.names();
    names.sort_unstable();
    assert_eq!(names, ["brain", "byte", "empty", "half", "int", "single"]);
    let single = file.tensor("single").unwrap();
    assert_eq!(single.dtype(), Dtype::F32);
    assert_eq!(single.shape(), [1, 3]);
    let values = [1.0f32, -0.5, 1.0e-3].map(f32::to_le_bytes);
    assert_eq!(single.data(), values.as_flattened());
    let half = [0x3C00u16, 0xB800, 0x1419].map(u16::to_le_bytes);
    assert_eq!(file.tensor("half").unwrap().data(), half.as_flattened());
    let brain = [0x3F80u16, 0xBF00, 0x3A83].map(u16::to_le_bytes);
    assert_eq!(file.tensor("brain").unwrap().data(), brain.as_flattened());
    assert_eq!(file.tensor("byte").unwrap().data(), [0, 7, 255]);
    let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    let metadata: BTreeMap<_, _> = header.metadata().clone().unwrap().into_iter().collect();
    assert_eq!(metadata, example().metadata);
}

#[test]
fn progress_is_made_in_bytes() {
    let steps = std::cell::RefCell::new(Vec::new());
    let mut writer = example();
    writer.on_progress(|written, total| steps.borrow_mut().push((written, total)));
    writer.into_bytes().unwrap();
    let steps = steps.into_inner();
    assert_eq!(steps.len(), 6);
    assert_eq!(steps.last(), Some(&(35, 35)));
    assert!(steps.is_sorted() && steps.iter().all(|&(_, total)| total == 35));
}

#[test]
fn a_copy_is_the_same_to_the_byte() {
    let bytes = example().into_bytes().unwrap();
    let file = TensorFile::from_bytes("example", bytes.clone()).unwrap();
    let mut copy = TensorWriter::new(file.metadata().clone());
    for name in file.tensor_names() {
        copy.copy(&file, name).unwrap();
    }
    assert!(copy.copy(&file, "absent").is_err());
    assert_eq!(copy.into_bytes().unwrap(), bytes);
}

#[test]
fn values_that_do_not_fit_their_format_or_shape_are_refused() {
    let written = |shape: &[usize], format, values: Vec<f32>| {
        let mut writer = TensorWriter::new(BTreeMap::new());
        writer.floats("t", shape, format, || Ok(values.into()));
        writer.into_bytes()
    };
    let largest = vec![65504.0, f32::INFINITY];
    written(&[2], FloatFormat::F16, largest).unwrap();
    let error = refused!(
        written(&[2], FloatFormat::F16, vec![0.0, -65536.0]),
        Argument
    );
    let named = error.contains("tensor t") && error.contains("-65536");
    assert!(named, "{error}");
    refused!(written(&[1], FloatFormat::Bf16, vec![f32::MAX]), Argument);
    written(&[1], FloatFormat::F32, vec![f32::MAX]).unwrap();
    refused!(written(&[2], FloatFormat::F32, vec![0.0]), Argument);
    refused!(
        written(&[usize::MAX, 2], FloatFormat::F32, vec![]),
        Argument
    );
}

#[test]
fn a_failed_writing_leaves_the_earlier_file_alone() {
    let scratch = Scratch::new("writer");
    let path = scratch.path("file.safetensors");
    example().write(&path).unwrap();
    let complete = std::fs::read(&path).unwrap();
    assert_eq!(complete, example().into_bytes().unwrap());

    // The file to be replaced may be mapped and read from meanwhile.
    let open = TensorFile::open(&path).unwrap();
    let mut copy = TensorWriter::new(BTreeMap::new());
    copy.copy(&open, "single").unwrap();
    let large = || Ok(vec![1.0e9].into());
    copy.floats("too large", &[1], FloatFormat::F16, large);
    assert!(copy.write(&path).is_err());
    assert_eq!(std::fs::read(&path).unwrap(), complete);
    assert_eq!(scratch.entries(), 1);

    let mut copy = TensorWriter::new(BTreeMap::new());
    copy.copy(&open, "single").unwrap();
    copy.write(&path).unwrap();
    let names = |path| {
        let file = TensorFile::open(path).unwrap();
        file.tensor_names().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(names(&path), ["single"]);
    assert_eq!(scratch.entries(), 1);
}
