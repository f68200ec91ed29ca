//! Every encoding: there and back, flipped, cut and extended, at random, and its committed hash.

use expect_test::expect;
use object::commit::Commit;
use object::credential::Proof;
use object::effects::{Admission, Effects, decode_globals, encode_globals};
use object::header::{HEADER_BYTES, Header};
use object::image::BaseImage;
use object::input::{Input, Request};
use object::ledger::Ledger;
use object::limits::*;
use object::refusal::Refusal;
use object::time::Time;
use object::{Error, ErrorKind};

use crate::samples;
use crate::source::Source;
use crate::wrap::wrap;

/// A structure: its name, a seeded encoding of it, and what its decoder's result encodes to.
struct Codec {
    name: &'static str,
    sample: fn(&mut Source) -> Vec<u8>,
    again: fn(&[u8]) -> Result<Vec<u8>, Error>,
}

const CODECS: [Codec; 20] = [
    Codec {
        name: "version header",
        sample: |source| samples::header(source).encode().to_vec(),
        again: |bytes| Ok(Header::decode(bytes)?.encode().to_vec()),
    },
    Codec {
        name: "commit",
        sample: samples::commit,
        again: |bytes| {
            let mut again = Vec::new();
            Commit::decode(bytes)?.encode_into(&mut again);
            Ok(again)
        },
    },
    Codec {
        name: "input",
        sample: |source| samples::input(source).encode(),
        again: |bytes| Ok(Input::decode(bytes)?.encode()),
    },
    Codec {
        name: "batched input",
        sample: |source| samples::batched(source).encode(),
        again: |bytes| Ok(Input::decode(bytes)?.encode()),
    },
    Codec {
        name: "effects",
        sample: |source| samples::effects(source).encode(),
        again: |bytes| Ok(Effects::decode(bytes)?.encode()),
    },
    Codec {
        name: "admission",
        sample: |source| samples::admission(source).encode(),
        again: |bytes| Ok(Admission::decode(bytes)?.encode()),
    },
    Codec {
        name: "globals",
        sample: |source| encode_globals(&samples::globals(source)),
        again: |bytes| Ok(encode_globals(&decode_globals(bytes)?)),
    },
    Codec {
        name: "amendment",
        sample: |source| samples::amendment(source).encode(),
        again: |bytes| Ok(Input::decode(bytes)?.encode()),
    },
    Codec {
        name: "nonces",
        sample: |source| samples::nonces(source).encode(),
        again: |bytes| Ok(Ledger::decode(bytes)?.encode()),
    },
    Codec {
        name: "floors",
        sample: |source| samples::floors(source).encode(),
        again: |bytes| Ok(Ledger::decode(bytes)?.encode()),
    },
    Codec {
        name: "ledger",
        sample: |source| samples::ledger(source).encode(),
        again: |bytes| Ok(Ledger::decode(bytes)?.encode()),
    },
    Codec {
        name: "session input",
        sample: |source| samples::of_session(source).encode(),
        again: |bytes| Ok(Input::decode(bytes)?.encode()),
    },
    Codec {
        name: "sessions",
        sample: |source| samples::sessions(source).encode(),
        again: |bytes| Ok(Ledger::decode(bytes)?.encode()),
    },
    Codec {
        name: "message",
        sample: |source| samples::message(source).encode(),
        again: |bytes| Ok(Input::decode(bytes)?.encode()),
    },
    Codec {
        name: "upgrade",
        sample: |source| samples::upgrade(source).encode(),
        again: |bytes| Ok(Input::decode(bytes)?.encode()),
    },
    Codec {
        name: "migrated",
        sample: |source| samples::migrated(source).encode(),
        again: |bytes| Ok(Admission::decode(bytes)?.encode()),
    },
    Codec {
        name: "fork",
        sample: |source| samples::fork(source).encode(),
        again: |bytes| Ok(Input::decode(bytes)?.encode()),
    },
    Codec {
        name: "effects with messages",
        sample: |source| samples::sending(source).encode(),
        again: |bytes| Ok(Effects::decode(bytes)?.encode()),
    },
    Codec {
        name: "refusal",
        sample: |source| samples::refusal(source).encode(),
        again: |bytes| Ok(Refusal::decode(bytes)?.encode()),
    },
    Codec {
        name: "base image",
        sample: |source| samples::base(source).encode(),
        again: |bytes| Ok(BaseImage::decode(bytes)?.encode()),
    },
];

/// A decoder fails, in words of its own, or the bytes are those that its result encodes to.
#[track_caller]
fn check(codec: &Codec, bytes: &[u8]) -> bool {
    match (codec.again)(bytes) {
        Ok(again) => {
            assert!(again == bytes, "{}: other bytes than were decoded", codec.name);
            true
        }
        Err(error) => {
            assert!(matches!(error.kind(), ErrorKind::Decode { .. }), "{}: {error}", codec.name);
            false
        }
    }
}

#[test]
fn what_is_encoded_is_decoded() {
    let mut source = Source::random();
    for codec in &CODECS {
        for _ in 0..300 {
            assert!(check(codec, &(codec.sample)(&mut source)), "{}", codec.name);
        }
    }
}

#[test]
fn a_flipped_byte_is_refused_or_means_something_else() {
    let mut source = Source::random();
    for codec in &CODECS {
        let (mut refused, mut accepted) = (0, 0);
        for _ in 0..20 {
            let mut bytes = (codec.sample)(&mut source);
            // All of a page's bytes are alike.
            let step = if bytes.len() > 4096 { 61 } else { 1 };
            let all = (0..bytes.len().min(1200)).chain((1200..bytes.len()).step_by(step));
            for at in all {
                for flip in [0x01, 0x80, 0xFF, 1 << source.below(8)] {
                    bytes[at] ^= flip;
                    match check(codec, &bytes) {
                        true => accepted += 1,
                        false => refused += 1,
                    }
                    bytes[at] ^= flip;
                }
            }
        }
        assert!(refused > 10 && accepted > 10, "{}: {refused} {accepted}", codec.name);
    }
}

#[test]
fn nothing_shorter_or_longer_is_an_encoding() {
    let mut source = Source::random();
    for codec in &CODECS {
        for _ in 0..10 {
            let mut bytes = (codec.sample)(&mut source);
            let step = if bytes.len() > 4096 { 37 } else { 1 };
            for end in (0..bytes.len()).step_by(step) {
                assert!(!check(codec, &bytes[..end]), "{} of {end} bytes", codec.name);
            }
            for more in [0, 1, 0xFF] {
                bytes.push(more);
                assert!(!check(codec, &bytes), "{} and {more}", codec.name);
                bytes.pop();
            }
        }
    }
}

#[test]
fn random_bytes_never_panic() {
    let mut source = Source::random();
    for codec in &CODECS {
        for _ in 0..3_000 {
            let mut bytes = samples::bytes(&mut source, 600);
            if source.below(2) == 0 && !bytes.is_empty() {
                bytes[0] = 1;
            }
            check(codec, &bytes);
            // A good start, then anything.
            let mut bytes = (codec.sample)(&mut source);
            bytes.truncate(source.below(bytes.len() + 1));
            bytes.extend(samples::bytes(&mut source, 100));
            check(codec, &bytes);
        }
    }
}

#[test]
fn a_count_that_the_bytes_do_not_back_allocates_nothing() {
    let mut bytes = Admission::default().encode();
    bytes[1..5].copy_from_slice(&64u32.to_le_bytes());
    let error = Admission::decode(&bytes).unwrap_err().to_string();
    expect![[r#"
        admission: at offset 1 expected a count that the bytes back, found 64 of at least
            32 bytes in 4 bytes"#]]
    .assert_eq(&wrap(&error));
}

#[test]
fn a_header_beyond_what_can_be_counted_is_refused() {
    let mut source = Source::new(7);
    let mut header = samples::header(&mut source);
    while header.seq < 2 {
        header = samples::header(&mut source);
    }
    let refused =
        |header: &Header| wrap(&Header::decode(&header.encode()).unwrap_err().to_string());
    header.seq = u64::MAX;
    header.jump = object::hash::VersionHash([9; 32]);
    expect![[r#"
        version header: at offset 8 expected at most 9223372036854775807, found
            18446744073709551615"#]]
    .assert_eq(&refused(&header));
    header.seq = SEQ_MAX;
    Header::decode(&header.encode()).unwrap();
    header.refusal_count = u64::MAX;
    expect![[r#"
        version header: at offset 48 expected at most 9223372036854775807, found
            18446744073709551615"#]]
    .assert_eq(&refused(&header));
    header.refusal_count = 0;
    header.memory_bytes = MEMORY_BYTES_MAX + 4096;
    assert!(Header::decode(&header.encode()).is_err());
    header.memory_bytes = u64::MAX;
    assert!(Header::decode(&header.encode()).is_err());
    header.memory_bytes = 4095;
    assert!(Header::decode(&header.encode()).is_err());
    header.memory_bytes = 0;
    (header.time, header.fuel) = (Time::MAX, u64::MAX);
    assert_eq!(Header::decode(&header.encode()).unwrap(), header);
    assert_eq!(header.encode().len(), HEADER_BYTES);
}

#[test]
fn an_input_is_within_its_limits_exactly_when_it_is_taken_back() {
    let write = |count: usize, path: usize, value: usize| Request::Write {
        fields: vec![("p".repeat(path), vec![0; value]); count],
    };
    let call = |method: usize, arguments: usize| Request::Call {
        method: "m".repeat(method),
        arguments: vec![0; arguments],
    };
    let create =
        |arguments: usize| Request::Create { salt: [0; 16], arguments: vec![0; arguments] };
    let (payload, half) = (PAYLOAD_BYTES_MAX, PAYLOAD_BYTES_MAX / 2);
    let cases = [
        (write(WRITES_MAX, PATH_BYTES_MAX, payload / WRITES_MAX), true),
        (write(WRITES_MAX + 1, 1, 1), false),
        (write(1, PATH_BYTES_MAX + 1, 1), false),
        (write(2, 1, half), true),
        (write(2, 1, half + 1), false),
        (call(NAME_BYTES_MAX, payload), true),
        (call(NAME_BYTES_MAX + 1, 0), false),
        (call(1, payload + 1), false),
        (create(payload), true),
        (create(payload + 1), false),
        (Request::Cycle, true),
    ];
    let mut source = Source::new(3);
    for (request, within) in cases {
        for signatures in [0, SIGNATURES_MAX, SIGNATURES_MAX + 1] {
            let mut credential = samples::credential(&mut source);
            let signature = object::credential::Signature { key: [1; 32], bytes: [2; 64] };
            credential.proof = Proof::Signatures(vec![signature; signatures]);
            let input = Input {
                request: request.clone(),
                time: Time::from_millis(1),
                credential: Some(credential),
            };
            let within = within && signatures <= SIGNATURES_MAX;
            assert_eq!(input.validate().is_ok(), within, "{:?}", input.validate());
            assert_eq!(Input::decode(&input.encode()).is_ok(), within);
        }
    }
}

#[test]
fn the_outputs_of_a_step_are_bounded_together() {
    use object::effects::Output;
    let output = |bytes: usize| Output { name: "n".into(), payload: vec![0; bytes] };
    let half = EFFECTS_BYTES_MAX / 2;
    let mut effects = Effects { outputs: vec![output(half - 1); 2], ..Effects::default() };
    effects.result = vec![0; EFFECTS_BYTES_MAX];
    assert_eq!(Effects::decode(&effects.encode()).unwrap(), effects);
    effects.outputs.push(output(0));
    let error = Effects::decode(&effects.encode()).unwrap_err().to_string();
    assert!(error.contains("expected at most 0, found 1"), "{error}");
}

/// These hashes cover every encoding ever written: they never change.
#[test]
fn encodings_are_those_of_format_version_1() {
    let mut table = String::new();
    for codec in &CODECS {
        let mut source = Source::new(1);
        let mut hasher = blake3::Hasher::new();
        for _ in 0..200 {
            hasher.update(&(codec.sample)(&mut source));
        }
        table += &format!("{:<14} {}\n", codec.name, hasher.finalize());
    }
    expect![[r#"
        version header 89c064437e4cb6e45e4f2d8792c623071ae254af1d0dea45649790964990c1fb
        commit         a7893df06412c207bf916081e816763cb592b945bbf2864d31a7e2e7c552c54e
        input          458a99e94cdd8bce5fb340786492987ae88b521b617bcf868cb710a9375f7a12
        batched input  e8162343d9e02c39e61df067481716334933301801acb2bb3b2081d587fc5055
        effects        b550239aedcc528550b7f054351ae185cfafb33a00afd90da8f4247fb80a02f7
        admission      90b17ec8f6c771cb85d255e8d10685cb37021cdc40e13c035f93c88c8de8368e
        globals        66ced97b773db1f4f6b7f0a0497e97b2f25b5e9744dbc415095f2e0168d8f8e4
        amendment      2e56885f983d0cefc4c30e4387b13f8ffc06f6cbae941b39dd5c3135a4f8763e
        nonces         26206957d4feedf052dd2d20df5ed987dd8b097052df1e2d74c65d1ceb7f5ff3
        floors         ddb03f46eb4400c8627df8ae3d7382e61befc8f8d8538dae3baddd6bedb9539a
        ledger         805b827003c1006301a5b0bf71cdbfe940f1eff68af5e77fe58903b0ab73bcca
        session input  f5f497d9db457c2f56639ae30caf3528e6520ca6f5a8513e4c161f3ac1507e1c
        sessions       ac31e840088ae4ac53dffdc30080bd9f221c52a41219fc5eb7dd928c32802391
        message        5a65914795b7ab12768fb252a3984b84b09fa8fdd74ad3271c1c40b2a4d0fb8e
        upgrade        a44d8e875dccf9700533760ccf2bf451248ddd3b7953d03ba839edb346e50795
        migrated       7905841432e4d56a10ee18cc0c2d804ba44feb44372e0edd559d8c17ef3f738d
        fork           bb5d62c49c7a9dc57d9df7cecb6aa9ce2dd94b5b9e9c43f5b1872cf63afd2e98
        effects with messages 329c69ab837023580f8d536525331c02f8f67d8b14b931f521613d01969576c8
        refusal        6814248fa53f64f13549c026b4c31c9a619d2f4bbe97560708b4b8fe9571f371
        base image     82945eb8b8160f4a7452ebc8ab3019cec425a4d0912730beba4092d5468261e7
    "#]]
    .assert_eq(&table);
}
