use std::path::Path;

use super::*;
use crate::file::Scratch;
use crate::gpu::kernels::style_unet;
use crate::stage::testing::absent;
use crate::{Gpu, GpuOptions};

/// Opens a device that keeps its kernels in `folder`, and compiles one.
fn compile(folder: &Path) -> Gpu {
    let gpu = Gpu::with_options(&GpuOptions {
        pipeline_cache: Some(PipelineCache::Folder(folder.to_owned())),
        ..GpuOptions::from_env().unwrap()
    });
    let gpu = gpu.unwrap();
    gpu.kernel(&style_unet::ADD, &[]).unwrap().pipeline();
    gpu.save_pipelines();
    gpu.wait("compiling").unwrap();
    gpu
}

/// The only file in a folder, if there is any.
fn kept(folder: &Path) -> Option<PathBuf> {
    let mut files = std::fs::read_dir(folder).ok()?;
    let file = files.next()?.unwrap().path();
    assert!(files.next().is_none());
    Some(file)
}

#[test]
fn compiled_kernels_are_kept_and_read_again() {
    let scratch = Scratch::new("pipelines");
    let folder = scratch.path("a folder/that is new");
    compile(&folder);
    let Some(file) = kept(&folder) else {
        return absent("pipelines", "the driver hands no compiled ones out");
    };
    let content = std::fs::read(&file).unwrap();
    let gpu = compile(&folder);
    gpu.kernel(&style_unet::LINEAR, &[]).unwrap().pipeline();
    gpu.save_pipelines();
    assert!(std::fs::read(&file).unwrap().len() > content.len());
}

#[test]
fn a_broken_file_is_ignored() {
    let scratch = Scratch::new("pipelines-broken");
    let folder = scratch.path("folder");
    let gpu = compile(&folder);
    let info = gpu.device().adapter_info();
    let Some(pipelines) =
        Pipelines::open(gpu.device(), &info, &PipelineCache::Folder(folder.clone()))
    else {
        return absent("pipelines", "the device keeps no compiled ones");
    };
    // Drivers that hand no kernels out have a header.
    let written = kept(&folder).is_some();
    let data = pipelines.cache.get_data().unwrap();
    let store = pipelines.file.as_ref().unwrap();
    store.write(&data).unwrap();
    let file = kept(&folder).unwrap();
    assert_eq!(file, store.path);
    let whole = std::fs::read(&file).unwrap();
    assert_eq!(unsealed(&store.key, &whole), Some(&data[..]));

    let mut flipped = whole.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let sealed = |data: &[u8]| [&seal(&store.key, data), data].concat();
    for content in [
        b"".to_vec(),
        b"my notes".to_vec(),
        whole[..whole.len() / 2].to_vec(),
        flipped,
        sealed(b""),
        sealed(b"of another version"),
        sealed(&data[..data.len() - 1]),
        sealed(&[&data[..], b"more"].concat()),
    ] {
        std::fs::write(&file, &content).unwrap();
        compile(&folder);
        let replaced = std::fs::read(&file).unwrap() != content;
        assert_eq!(replaced, written);
        assert_eq!(kept(&folder).as_ref(), Some(&file), "nothing else is left");
    }
}

#[test]
fn a_folder_that_cannot_be_made_is_no_error() {
    let scratch = Scratch::new("pipelines-folder");
    let file = scratch.path("file");
    std::fs::write(&file, "my notes").unwrap();
    compile(&file);
    compile(&file.join("below"));
    assert_eq!(std::fs::read(&file).unwrap(), b"my notes");
    // Without a folder nothing is written.
    assert_eq!(scratch.entries(), 1);
}

#[test]
fn only_what_was_sealed_is_unsealed() {
    let content = [&seal("key", b"data")[..], b"data"].concat();
    assert_eq!(unsealed("key", &content), Some(&b"data"[..]));
    assert_eq!(unsealed("another key", &content), None);
    assert_eq!(unsealed("key", &content[..11]), None);
    assert_eq!(unsealed("key", &content[..7]), None);
    assert_eq!(unsealed("key", b""), None);
}
