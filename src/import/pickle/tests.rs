use super::*;

#[track_caller]
fn refused(bytes: &[u8]) -> String {
    Pickle::parse(bytes).unwrap_err()
}

#[test]
fn calls_are_recorded_not_made() {
    // `pickle.loads` would run a shell.
    let pickle = Pickle::parse(b"\x80\x02cposix\nsystem\nX\x06\x00\x00\x00reboot\x85R.").unwrap();
    let (class, arguments, state) = pickle.root().object().unwrap();
    let (module, name) = ("posix", "system");
    assert_eq!(class, Class::Other { module, name });
    let [command] = arguments.array().unwrap();
    assert_eq!(command.text(), Some("reboot"));
    assert!(state.is_none() && pickle.root().bytes().is_none());
}

#[test]
fn numbers_of_every_size_are_read() {
    let pickle = b"\x80\x02(K\xFFM\xFF\xFFJ\xFF\xFF\xFF\xFF\x8A\x00\x8A\x01\x80\
        \x8A\x05\xFF\xFF\xFF\xFF\x00\x8B\x01\x00\x00\x00\x7F\x88\x89t.";
    let pickle = Pickle::parse(pickle).unwrap();
    let numbers = pickle.root().elements().unwrap().map(Node::int);
    let expected = [255, 65535, -1, 0, -128, 0xFFFF_FFFF, 127, 1, 0];
    assert!(numbers.eq(expected.map(Some)));
    let pickle = Pickle::parse(b"G\xBF\xE0\x00\x00\x00\x00\x00\x00.").unwrap();
    assert_eq!(pickle.root().float(), Some(-0.5));
    let pickle = Pickle::parse(b"\x8A\x09\x01\x02\x03\x04\x05\x06\x07\x08\x09.").unwrap();
    assert!(pickle.root().is_long_int(&[1, 2, 3, 4, 5, 6, 7, 8, 9]));
    assert_eq!(pickle.root().int(), None);
}

#[test]
fn bytes_are_read_however_they_are_written() {
    for bytes in [
        &b"U\x02\xE9A."[..],
        b"T\x02\x00\x00\x00\xE9A.",
        b"C\x02\xE9A.",
        b"B\x02\x00\x00\x00\xE9A.",
        b"\x8E\x02\x00\x00\x00\x00\x00\x00\x00\xE9A.",
        b"\x96\x02\x00\x00\x00\x00\x00\x00\x00\xE9A.",
        b"c_codecs\nencode\nX\x03\x00\x00\x00\xC3\xA9A\x8C\x06latin1\x86R.",
        b"c__builtin__\nbytearray\nX\x03\x00\x00\x00\xC3\xA9AU\x07latin-1\x86R.",
        b"cbuiltins\nbytearray\nC\x02\xE9A\x85R.",
    ] {
        let pickle = Pickle::parse(bytes).unwrap();
        assert_eq!(pickle.root().bytes().as_deref(), Some(&[0xE9, b'A'][..]));
    }
    let empty = Pickle::parse(b"c__builtin__\nbytes\n)R.").unwrap();
    assert_eq!(empty.root().bytes().as_deref(), Some(&[][..]));
    // The letter is not in Latin-1, and the encoding is another one.
    for bytes in [
        &b"c_codecs\nencode\nX\x02\x00\x00\x00\xC4\x80U\x06latin1\x86R."[..],
        b"c_codecs\nencode\nX\x02\x00\x00\x00\xC3\xA9U\x05utf-8\x86R.",
    ] {
        assert_eq!(Pickle::parse(bytes).unwrap().root().bytes(), None);
    }
}

#[test]
fn what_was_overwritten_in_a_dictionary_is_gone() {
    let pickle = Pickle::parse(b"}(U\x01aK\x01U\x01aK\x02uU\x01bK\x03s.").unwrap();
    assert_eq!(pickle.root().get("a").and_then(Node::int), Some(2));
    assert_eq!(pickle.root().get("b").and_then(Node::int), Some(3));
    assert!(pickle.root().get("c").is_none());
}

#[test]
fn a_value_may_contain_itself() {
    let pickle = Pickle::parse(b"]q\x00h\x00a.").unwrap();
    let [inner] = pickle.root().array().unwrap();
    assert_eq!(inner.identity(), pickle.root().identity());
    // Deeper than any stack.
    let mut deep = vec![b')'];
    deep.extend([0x85].repeat(500_000));
    deep.push(b'.');
    assert!(Pickle::parse(&deep).is_ok());
}

#[test]
fn programs_that_cannot_run_are_refused() {
    let nothing = "at byte 0 of the pickle: expected 1 more bytes, found 0";
    let no_class = b"ccopyreg\n_reconstructor\nN\x85R.";
    let too_long = b"\x8E\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFFa.";
    let few_items = "expected more items on the stack";
    for (bytes, reason) in [
        (&b""[..], nothing),
        (b"N", "at byte 1"),
        (b".", few_items),
        (b"(.", few_items),
        (b"N(\x85.", few_items),
        (b"t.", "expected a mark on the stack"),
        (b"Na.", few_items),
        (b"NNa.", "expected a list"),
        (b"](NNNu.", "expected a value for the last key"),
        (b"](NNu.", "expected a dictionary"),
        (b"h\x07.", "entry 7 of the memo"),
        (b"N)R.", "expected a class"),
        (b"cos\nsystem\nNR.", "expected a tuple of arguments"),
        (b"cos", "expected the end of a line"),
        (b"NN\x93.", "expected a text as the name"),
        (no_class, "expected a class to instantiate"),
        (b"X\x01\x00\x00\x00\xFF.", "utf-8"),
        (b"X\xFF\xFF\xFF\xFFa.", "expected 4294967295 more bytes"),
        (too_long, "more bytes, found 2"),
        (b"\x80\x06.", "expected protocol 0 to 5, found 6"),
    ] {
        let error = refused(bytes);
        assert!(error.contains(reason), "{bytes:?}: {error}");
    }
}

#[test]
fn opcodes_that_are_not_listed_are_refused() {
    // Python's registry of extensions, buffers outside of the pickle, and what has no meaning.
    for opcode in b"\x82\x83\x84\x97\x98AzZ\x00" {
        let error = refused(&[0x80, 2, *opcode, b'1', b'\n', b'.']);
        assert!(error.contains(&format!("opcode 0x{opcode:02x}")), "{error}");
    }
}

#[test]
fn protocol_0_is_read() {
    let pickle =
        b"(lp0\nI-7\naI01\naI00\naL9000000000L\naF-2.5e-01\naFinf\naS'it\\'s \\x41\\n\\101\\q'\n\
        aS\"a\"\naV\xE9\\u4f60\\U0001f642\\q\nag0\na(dp1\nVk\nNsa.";
    let pickle = Pickle::parse(pickle).unwrap();
    let items: Vec<Node> = pickle.root().elements().unwrap().collect();
    assert_eq!(
        items[..4]
            .iter()
            .map(|n| n.int().unwrap())
            .collect::<Vec<_>>(),
        [-7, 1, 0, 9_000_000_000]
    );
    assert_eq!(items[4].float(), Some(-0.25));
    assert_eq!(items[5].float(), Some(f64::INFINITY));
    assert_eq!(items[6].text(), Some("it's A\nA\\q"));
    assert_eq!(items[7].bytes().as_deref(), Some(&b"a"[..]));
    assert_eq!(items[8].text(), Some("é你🙂\\q"));
    assert_eq!(items[9].identity(), pickle.root().identity());
    assert!(items[10].get("k").is_some());
    // Instances of Python 2's oldest classes, and a reference to data elsewhere.
    for instance in [&b"(I1\nimodule\nName\n."[..], b"(cmodule\nName\nI1\no."] {
        let pickle = Pickle::parse(instance).unwrap();
        let (class, arguments, _) = pickle.root().object().unwrap();
        let (module, name) = ("module", "Name");
        assert_eq!(class, Class::Other { module, name });
        assert_eq!(arguments.array().map(|[one]| one.int()), Some(Some(1)));
    }
    let elsewhere = Pickle::parse(b"Pnumber 7\n.").unwrap();
    assert_eq!(
        elsewhere.root().persistent().and_then(Node::text),
        Some("number 7")
    );

    for (bytes, reason) in [
        (&b"Ix\n."[..], "expected a number in a line, found \"x\""),
        (b"L99999999999999999999L\n.", "expected a number"),
        (b"Fwide\n.", "expected a number"),
        (b"S'a\n.", "in quotes"),
        (b"S'\n.", "in quotes"),
        (b"S'\\x4'\n.", "hexadecimal"),
        (b"V\\u12\n.", "hexadecimal"),
        (b"V\\ud800\n.", "a character"),
        (b"N\np\n.", "opcode 0x0a"),
        (b"Npx\n.", "expected a number"),
        (b"g7\n.", "entry 7"),
        (b"(o.", "a class to instantiate"),
    ] {
        let error = refused(bytes);
        assert!(error.contains(reason), "{bytes:?}: {error}");
    }
}

#[test]
fn values_take_no_more_memory_than_the_budget() {
    // An opcode of one byte each: a list, a number, a mark, a place in the memo.
    let spent = "more memory than 6 times its size";
    for (opcode, reason) in [
        (&b"]"[..], spent),
        (b"]\x94", spent),
        (b"M\x01\x01", spent),
        // What is shared takes no more than its references.
        (b"K\x01", "expected 1 more bytes"),
        (b"(", "expected 1 more bytes"),
    ] {
        let bytes = opcode.repeat((10 << 20) / opcode.len());
        let error = refused(&bytes);
        assert!(error.contains(reason), "{opcode:?}: {error}");
    }
}

#[test]
fn large_dictionaries_are_searched_once() {
    let mut bytes = b"}(".to_vec();
    for i in 0..100_000u32 {
        bytes.extend(b"X\x04\0\0\0");
        bytes.extend(format!("{:04x}", i & 0xFFFF).bytes());
        bytes.push(b'J');
        bytes.extend(i.to_le_bytes());
    }
    bytes.extend(b"N\x88u.");
    let pickle = Pickle::parse(&bytes).unwrap();
    let found = |key| pickle.root().get(key).and_then(Node::int);
    let start = std::time::Instant::now();
    for _ in 0..100_000 {
        // The last of two with the same key.
        assert_eq!(found("0007"), Some(65536 + 7));
        assert_eq!(found("ffff"), Some(65535));
        assert_eq!(found("missing"), None);
    }
    // Linear searches would take minutes.
    assert!(start.elapsed().as_secs() < 10);
}
