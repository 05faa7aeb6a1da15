#![no_main]

use gpavatar_fuzz::{Object, import, torch_archive};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|object: Object| {
    let pickle = object.pickled();
    import(&torch_archive(&pickle));
    import(&pickle);
});
