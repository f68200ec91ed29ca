//! Every encoding: there and back, flipped, cut and extended, at random, and its committed hash.

use expect_test::expect;
use object::commit::Commit;
use object::credential::{Credential, Proof, SessionKey, SigningKey};
use object::effects::{Admission, Effects, decode_globals, encode_globals};
use object::evidence::Leaf;
use object::hash::ObjectId;
use object::header::{HEADER_BYTES, Header};
use object::image::BaseImage;
use object::input::{Input, Request};
use object::ledger::Ledger;
use object::limits::*;
use object::refusal::Refusal;
use object::secret::Secret;
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

const CODECS: [Codec; 19] = [
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
        name: "fork",
        sample: |source| samples::fork(source).encode(),
        again: |bytes| Ok(Input::decode(bytes)?.encode()),
    },
    Codec {
        name: "refusal",
        sample: |source| samples::refusal(source).encode(),
        again: |bytes| Ok(Refusal::decode(bytes)?.encode()),
    },
    Codec {
        name: "secret",
        sample: |source| samples::secret(source).encode(),
        again: |bytes| Ok(Secret::decode(bytes)?.encode()),
    },
    Codec {
        name: "leaf",
        sample: |source| samples::leaf(source).encode().to_vec(),
        again: |bytes| Ok(Leaf::decode(bytes)?.encode().to_vec()),
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
            let is_known = matches!(
                error.kind(),
                ErrorKind::Decode { .. } | ErrorKind::UnknownAlgorithm { .. }
            );
            assert!(is_known, "{}: {error}", codec.name);
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
                bytes[0] = 2;
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
fn an_unknown_algorithm_is_refused_with_its_place_whatever_is_behind_it() {
    let (object, request) = (ObjectId([1; 32]), Request::Cycle);
    let mut signed = Credential::new(1, Time::MIN);
    for secret in [[1; 32], [2; 32]] {
        signed.sign(&SigningKey::from_secret(&secret), object, &request);
    }
    let mut coded = Credential::new(1, Time::MIN);
    coded.put_in_session(&SessionKey::from_secret(&[1; 32]), object, &request);
    for (credential, behind, known) in
        [(signed.clone(), 97 + 96, 1), (signed, 96, 1), (coded, 32, 2)]
    {
        let input =
            Input { request: Request::Cycle, time: Time::MIN, credential: Some(credential) };
        let bytes = input.encode();
        let at = bytes.len() - behind - 1;
        assert_eq!(bytes[at], known);
        for code in (0..=u8::MAX).filter(|code| *code != known) {
            // Shorter than what is known, as long, and longer: nothing of it is read.
            for length in [1, behind, 1312 + 2420] {
                let mut other = bytes[..=at].to_vec();
                other[at] = code;
                other.extend((0..length).map(|index| index as u8));
                let error = Input::decode(&other).unwrap_err();
                let offset = at as u64;
                let expected = ErrorKind::UnknownAlgorithm { what: "input", offset, known, code };
                assert_eq!(*error.kind(), expected);
                assert!(!error.kind().is_damaged());
            }
        }
    }
}

#[test]
fn a_count_that_the_bytes_do_not_back_allocates_nothing() {
    let mut bytes = Admission::default().encode();
    bytes[1] = 64;
    let error = Admission::decode(&bytes).unwrap_err().to_string();
    expect![[r#"
        admission: at offset 1 expected a count that the bytes back, found 64 of at least
            32 bytes in 2 bytes"#]]
    .assert_eq(&wrap(&error));
}

#[test]
fn what_a_header_does_not_have_is_zero() {
    let header = samples::header(&mut Source::new(7));
    let cases = [
        (Header { wake: None, ..header.clone() }, 24..32),
        (Header { refusal_count: 0, refusals: None, ..header.clone() }, 448..480),
        (genesis(header), 64..160),
    ];
    for (header, absent) in cases {
        let bytes = header.encode();
        assert_eq!(Header::decode(&bytes).unwrap(), header);
        for at in absent {
            let mut changed = bytes;
            changed[at] = 1;
            let error = Header::decode(&changed).unwrap_err().to_string();
            assert!(error.ends_with("expected zero, found 1"), "byte {at}: {error}");
        }
    }
}

fn genesis(header: Header) -> Header {
    let kind = object::header::Kind::Create;
    Header { kind, seq: 0, object: None, parent: None, jump: None, ..header }
}

/// A hash of zeros and the last moment there is are values like any other.
#[test]
fn nothing_stands_for_nothing() {
    let mut source = Source::new(7);
    let mut header = samples::header(&mut source);
    while header.seq < 2 {
        header = samples::header(&mut source);
    }
    let zero = object::hash::VersionHash([0; 32]);
    header.object = Some(object::hash::ObjectId([0; 32]));
    (header.parent, header.jump) = (Some(zero), Some(zero));
    (header.refusal_count, header.refusals) = (1, Some(object::hash::RefusalHash([0; 32])));
    for wake in [object::time::Time::MIN, object::time::Time::MAX] {
        header.wake = Some(wake);
        assert_eq!(Header::decode(&header.encode()).unwrap(), header);
    }
    let mut input = samples::input(&mut source);
    let mut credential = samples::credential(&mut source);
    credential.parent = Some(zero);
    input.credential = Some(credential);
    input.validate().unwrap();
    assert_eq!(Input::decode(&input.encode()).unwrap(), input);
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
    header.jump = Some(object::hash::VersionHash([9; 32]));
    expect![[r#"
        version header: at offset 8 expected at most 9223372036854775807, found
            18446744073709551615"#]]
    .assert_eq(&refused(&header));
    header.seq = SEQ_MAX;
    Header::decode(&header.encode()).unwrap();
    (header.refusal_count, header.refusals) = (u64::MAX, Some(object::hash::RefusalHash([0; 32])));
    expect![[r#"
        version header: at offset 48 expected at most 9223372036854775807, found
            18446744073709551615"#]]
    .assert_eq(&refused(&header));
    (header.refusal_count, header.refusals) = (0, None);
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
        |arguments: usize| Request::Create { salt: [0; 32], arguments: vec![0; arguments] };
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

/// These hashes cover every encoding of the format: once it is released they never change.
#[test]
fn encodings_are_those_of_format_version_2() {
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
        version header 6fa9fe2debc4dffbeb76631a0a07a0cc68e0be89fd5ae1b85ffa74e3a98393fe
        commit         9d1deef1a7d30ecfa6f7705ec2486a57fafe7e18a7dc4017905f0e38c9586933
        input          21e50affca298c16ae1faa35ca27db8cb58591455eba7c355d89007a7b6ee466
        batched input  0d5af6c89d3bbe63c1ca5d352b3627508d444bfc5fee7f57f0ac2529267d532d
        effects        8b4c3132315a259e75e1372a02c95c724b6365d71c0f5f6c46cffd033d8a6ea3
        admission      e379cfe39fe79e26cb3bee070c00686ab6da7ab6cbed407270bdc2bc87b39f6d
        globals        4fd67a0217603068e06c663459fec88963232fd235be2d269e05ef4f59813163
        amendment      22e94a468e076f9b3f74926725c6451c0bf36e766d96c289fb07ce2b9a3f20fc
        nonces         b5a2d903ef4256ef2bbfa78d3a123b44938374258e5a6e2f2ecdec5723f6880c
        ledger         79b27d372b3a1d0078a05945f15e81ff7f5c692af3ad72c026ad28fd639ec8df
        session input  27f1515a4b1a7c217336c35437454a635c480bd59b76cf650b437aa38dfc22e8
        sessions       96147fc49a294d7c4c088cae9081847ffe474e540db69c6e97a779bc8be2cec9
        message        a794a80dc06d80e43e8ff3afeba62e4906ab3b0dba765366ce269d6109f1f443
        upgrade        2e2499e2285074f7a0a7b62872fa42d45c28c2c6acc7e7c216340df4caf34e54
        fork           9e6308de5d8586e0779298432244ce5710a0ae168be80ff74fecc671f0952a6d
        refusal        95070109c48cf5db69a5e5351fabbfa6007b7fd1b1fbb234ba1e1afebd247ba8
        secret         b2f86f2223246b070d748e5e5d835ba9c63b0c92c00c21734dc283164cdcdf35
        leaf           2d3709c98041356aeb96adc063d998401948f618848a9711cd757d71ea3d54fe
        base image     7867f945638bc3516a7f8b5d0344eac8971d4de5ea4e638d2314348a8100a68c
    "#]]
    .assert_eq(&table);
}
