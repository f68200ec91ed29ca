//! The canaries that there are: checks, and what each is replaced by so that it checks nothing.

use super::Canary;

const fn canary(
    name: &'static str,
    target: &'static str,
    file: &'static str,
    text: &'static str,
    with: &'static str,
) -> Canary {
    Canary { name, target, file, text, with }
}

/// Runs within which each target must notice, in the order of the list.
pub(super) const RUNS: &[(&str, u64)] = &[
    ("admission_soundness", 100),
    ("admission_differential", 20),
    ("replay", 1000),
    ("capsule", 200),
    ("header_decode", 3000),
    ("log_decode", 100),
    ("schema_layout", 1000),
    ("instrument", 800),
    ("proof_malleability", 1000),
    ("messages", 60),
    ("database_model", 60),
];

/// All canaries.
pub const CANARIES: &[Canary] = &[
    // What admits.
    canary(
        "nonces",
        "admission_soundness",
        "object/src/ledger/nonces.rs",
        "match ⟦nonce.cmp(&self.entries[index].nonce)⟧ {",
        "std::cmp::Ordering::Greater",
    ),
    canary(
        "the policy before, on an upgrade",
        "database_model",
        "object/src/admission.rs",
        "let admission = ⟦admit(laws.before, head, signers, left, guards)?⟧;",
        "Admission { signers, ..Admission::default() }",
    ),
    canary(
        "the new policy, on a migration",
        "database_model",
        "object/src/admission.rs",
        "Ok(⟦migrated(admission, decision)?⟧)",
        "Admission { migrated: vec![\"any\".to_string()], ..admission }",
    ),
    canary(
        "message with a credential",
        "admission_soundness",
        "object/src/admission.rs",
        "if ⟦input.request.origin().is_some() && input.credential.is_some()⟧ {",
        "false",
    ),
    canary(
        "sender as principal",
        "admission_soundness",
        "object/src/admission.rs",
        "(Request::Message { origin, .. }, _) => Principal::Object(⟦origin.sender⟧),",
        "head.id",
    ),
    canary(
        "expiry",
        "admission_soundness",
        "object/src/admission.rs",
        "if ⟦expires < time⟧ {",
        "false",
    ),
    canary(
        "expiry too late",
        "admission_soundness",
        "object/src/admission.rs",
        "if ⟦expires - time > EXPIRY_MS_MAX⟧ {",
        "false",
    ),
    canary(
        "expected parent",
        "admission_soundness",
        "object/src/admission.rs",
        "= ⟦credential.parent.filter(|&parent| parent != head.hash)⟧ {",
        "None",
    ),
    canary(
        "wake that is due",
        "admission_soundness",
        "object/src/admission.rs",
        "if ⟦head.header.wake.is_none_or(|wake| wake > input.time)⟧ {",
        "false",
    ),
    canary(
        "signatures",
        "admission_soundness",
        "object/src/credential.rs",
        "⟦verifying\n            .verify_strict(&bytes, &claimed)⟧",
        "Ok::<(), ed25519_dalek::SignatureError>(())",
    ),
    canary(
        "codes of sessions",
        "admission_soundness",
        "object/src/credential/host.rs",
        "⟦key.id() == session && key.verifies(mac, (credential, object, request))⟧",
        "true",
    ),
    canary(
        "expiry of sessions",
        "admission_soundness",
        "object/src/admission.rs",
        "opened.filter(|open| ⟦open.expires() >= input.time⟧)",
        "true",
    ),
    canary(
        "expiry in sessions",
        "admission_soundness",
        "object/src/admission.rs",
        "if ⟦credential.expires > open.expires()⟧ {",
        "false",
    ),
    canary(
        "nonces of sessions",
        "admission_soundness",
        "object/src/ledger/sessions.rs",
        "match ⟦nonce.cmp(&self.nonce)⟧ {",
        "std::cmp::Ordering::Greater",
    ),
    canary(
        "what a session may ask for",
        "admission_soundness",
        "object/src/admission.rs",
        "if ⟦!matches!(input.request, Request::Call { .. } | Request::Write { .. })⟧ {",
        "false",
    ),
    canary(
        "what only a rule that names it permits",
        "admission_soundness",
        "object/src/policy/cedar/compile.rs",
        "⟦!NAMED_ONLY.contains(&action) || rule.effect == Effect::Forbid⟧",
        "true",
    ),
    canary(
        "signatures of a batch",
        "admission_soundness",
        "object/src/credential.rs",
        "if ⟦!memo.holds(root, count, signatures)⟧ {",
        "false",
    ),
    canary(
        "effects of an amendment",
        "admission_soundness",
        "object/src/verify.rs",
        "⟦ran_no_code(commit, effects, before, &[])?⟧;",
        "()",
    ),
    canary(
        "permit",
        "admission_soundness",
        "object/src/policy/program.rs",
        "permits: ⟦permits != none⟧, rules: permits",
        "true",
    ),
    canary(
        "guard",
        "admission_soundness",
        "object/src/admission.rs",
        "let guard = ⟦definition.policy.guard()⟧?;",
        "None",
    ),
    canary(
        "pages of a write",
        "admission_soundness",
        "object/src/verify.rs",
        "if ⟦pages.len() != commit.pages.len() || !pages.iter().zip(&commit.pages).all(same)⟧ {",
        "false",
    ),
    canary(
        "effects of a write",
        "admission_soundness",
        "object/src/verify.rs",
        "if ⟦*effects != Effects::default() || commit.header.fuel != 0⟧ {",
        "false",
    ),
    canary(
        "admission on record",
        "admission_soundness",
        "object/src/verify.rs",
        "if ⟦decided != admission⟧ {",
        "false",
    ),
    canary(
        "time of a version",
        "admission_soundness",
        "object/src/verify.rs",
        "if ⟦input.time < self.head.header.time⟧ {\n            let expected = format!(\"{} or \
         later\", self.head.header.time);\n            return Err(Error::mismatch(\"time\", seq, \
         expected, input.time));\n        }\n        let signers",
        "false",
    ),
    // Compiled rules.
    canary(
        "forbid",
        "admission_differential",
        "object/src/policy/program.rs",
        "Some(match ⟦forbids == none⟧ {",
        "true",
    ),
    canary(
        "absent values",
        "admission_differential",
        "object/src/policy/program.rs",
        "Op::Has(index) => (Found::Bool(⟦!matches!(self.register(index), Datum::Absent)⟧), 0)",
        "true",
    ),
    // Lineages and their replay.
    canary(
        "header recomputed",
        "replay",
        "object/src/verify.rs",
        "differing.find(|(one, other)| ⟦one != other⟧)",
        "false",
    ),
    canary(
        "verdict recomputed",
        "replay",
        "object/src/verify.rs",
        "if ⟦native.as_ref() != given⟧ {",
        "false",
    ),
    canary(
        "fuel replayed",
        "replay",
        "engine/src/replay.rs",
        "if ⟦ran.fuel != commit.header.fuel⟧ {",
        "false",
    ),
    canary(
        "effects replayed",
        "replay",
        "engine/src/replay.rs",
        "if ⟦ran.effects.encode() != commit.effects⟧ {",
        "false",
    ),
    canary(
        "verdict replayed",
        "replay",
        "engine/src/replay.rs",
        "if ⟦verdict.as_ref() != Some(&refusal.verdict)⟧ {",
        "false",
    ),
    canary(
        "pages replayed",
        "replay",
        "engine/src/replay.rs",
        "if ⟦!ran.pages().eq(commit.pages.iter().copied())⟧ {",
        "false",
    ),
    // Capsules.
    canary(
        "section chain",
        "capsule",
        "object/src/capsule.rs",
        "if ⟦self.extend(head, body) != *check⟧ {",
        "{ self.extend(head, body); false }",
    ),
    canary(
        "growth replayed",
        "capsule",
        "engine/src/replay.rs",
        "if ⟦expected != found⟧ {\n            return Err(differs(\"memory bytes\"",
        "false",
    ),
    // Decoders.
    canary(
        "reserved bytes",
        "header_decode",
        "object/src/header.rs",
        "match ⟦bytes.iter().find(|&&byte| byte != 0)⟧ {",
        "None",
    ),
    canary(
        "bytes behind the end",
        "header_decode",
        "object/src/codec.rs",
        "match ⟦self.left()⟧ {\n            0 => Ok(()),",
        "0",
    ),
    canary(
        "frame check",
        "log_decode",
        "storage/src/log/frame.rs",
        "if ⟦self.check(header, blake3::hash(body)) != header.check⟧ {",
        "false",
    ),
    canary(
        "segment check",
        "log_decode",
        "storage/src/log/segment.rs",
        "if ⟦*check != blake3::derive_key(CONTEXT, head)⟧ {",
        "false",
    ),
    // Schemas.
    canary(
        "alignment",
        "schema_layout",
        "object/src/schema/layout.rs",
        "let offset = ⟦end.next_multiple_of(part.align)⟧;",
        "end",
    ),
    canary(
        "flags that there are",
        "schema_layout",
        "object/src/schema/scalar.rs",
        "(⟦bits >> ty.flags.len() == 0⟧, &\"no bit beyond the flags\")",
        "true",
    ),
    canary(
        "alignment of lists",
        "schema_layout",
        "object/src/schema/read.rs",
        "if ⟦!address.is_multiple_of(layout.align)⟧ {\n            let expected = \
         format_args!(\"an address that is a multiple of {}\", layout.align)",
        "false",
    ),
    // The instrumentation.
    canary(
        "cards of bulk writes",
        "instrument",
        "engine/src/instrument/emit.rs",
        "function.instruction(&I::I32Const(⟦1⟧));",
        "0",
    ),
    canary(
        "card of the last byte",
        "instrument",
        "engine/src/instrument/body.rs",
        "if ⟦bytes > 1⟧ {",
        "false",
    ),
    canary(
        "canonical NaNs",
        "instrument",
        "engine/src/instrument/body.rs",
        "if let Some(ty) = ⟦may_be_nan(&operator)⟧ {",
        "None",
    ),
    // Proofs.
    canary(
        "strict signatures",
        "proof_malleability",
        "object/src/credential.rs",
        "⟦verifying\n            .verify_strict(&bytes, &claimed)⟧",
        "ed25519_dalek::Verifier::verify(&verifying, &bytes, &claimed)",
    ),
    canary(
        "keys in order",
        "proof_malleability",
        "object/src/credential.rs",
        "if ⟦!signatures.is_sorted_by(|one, next| one.key < next.key)⟧ {",
        "false",
    ),
    canary(
        "object signed for",
        "proof_malleability",
        "object/src/input.rs",
        "to.put(&⟦object.0⟧).put_u64(nonce)",
        "ObjectId::NONE.0",
    ),
    canary(
        "headers of a proof",
        "proof_malleability",
        "object/src/lineage.rs",
        "if ⟦(header.seq, header.hash()) != expected⟧ {",
        "false",
    ),
    canary(
        "ancestor of a proof",
        "proof_malleability",
        "object/src/lineage.rs",
        "if self.headers.is_empty() || ⟦expected.1 != ancestor⟧ {",
        "false",
    ),
    // What is delivered once.
    canary(
        "messages that were taken",
        "messages",
        "storage/src/recovery.rs",
        "Record::Taken(taking) => ⟦self.heads.take(&taking)⟧,",
        "drop(taking)",
    ),
];
