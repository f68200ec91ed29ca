//! Proofs that one version descends from another: honest, and forged in every way.

use object::ancestry::AncestryProof;
use object::hash::{ObjectId, VersionHash};
use object::header::{Header, Kind};
use object::headers::Headers;
use object::lineage::{Spine, jump_seq, next_seq};

use crate::samples;
use crate::source::Source;

/// A chain of headers, linked as versions are.
fn chain(source: &mut Source, count: u64) -> Vec<Header> {
    let mut spine = Spine::new();
    let mut headers: Vec<Header> = Vec::new();
    for seq in 0..count {
        let mut header = samples::header(source);
        (header.seq, header.kind) = (seq, if seq == 0 { Kind::Create } else { Kind::Call });
        header.object = (seq > 0).then_some(ObjectId([1; 32]));
        header.parent = headers.last().map(Header::hash);
        header.jump = spine.next_jump();
        assert_eq!(Header::decode(&header.encode()).unwrap(), header);
        spine.push(header.hash());
        headers.push(header);
    }
    headers
}

fn proof(chain: &[Header], from: u64, to: u64) -> AncestryProof {
    let read = |seq: u64| Ok::<_, std::convert::Infallible>(chain[seq as usize].clone());
    AncestryProof::collect(from, to, read).unwrap()
}

#[test]
fn any_ancestor_is_proved_in_a_few_headers() {
    let mut source = Source::random();
    let chain = chain(&mut source, 3000);
    for _ in 0..300 {
        let from = source.below(3000) as u64;
        let to = source.below(from as usize + 1) as u64;
        let proof = proof(&chain, from, to);
        let most = 1 + 3 * (from + 1).ilog2() as usize;
        assert!(proof.headers.len() <= most, "{} from {from} to {to}", proof.headers.len());
        proof.verify(chain[from as usize].hash(), chain[to as usize].hash()).unwrap();
    }
}

#[test]
fn a_proof_proves_nothing_else() {
    let mut source = Source::random();
    let chain = chain(&mut source, 200);
    for (from, to) in [(199, 0), (199, 100), (150, 149), (128, 1), (7, 7)] {
        let proof = proof(&chain, from, to);
        for (seq, header) in chain.iter().enumerate() {
            let (hash, seq) = (header.hash(), seq as u64);
            let (start, end) = (chain[from as usize].hash(), chain[to as usize].hash());
            assert_eq!(proof.verify(start, hash).is_ok(), seq == to);
            assert_eq!(proof.verify(hash, end).is_ok(), seq == from);
        }
        assert!(proof.verify(VersionHash([0; 32]), VersionHash([0; 32])).is_err());
    }
}

#[test]
fn a_forged_proof_is_refused() {
    let mut source = Source::random();
    let chain = chain(&mut source, 500);
    let (start, end) = (chain[499].hash(), chain[13].hash());
    let honest = proof(&chain, 499, 13);
    honest.verify(start, end).unwrap();
    let refused = |headers: Vec<Header>| AncestryProof { headers }.verify(start, end).unwrap_err();
    for at in 0..honest.headers.len() {
        let mut headers = honest.headers.clone();
        headers.remove(at);
        refused(headers);
        let mut headers = honest.headers.clone();
        headers.insert(at, headers[at].clone());
        refused(headers);
        let mut headers = honest.headers.clone();
        headers.truncate(at);
        refused(headers);
        if at > 0 {
            let mut headers = honest.headers.clone();
            headers.swap(at - 1, at);
            refused(headers);
            // The long way round: by a parent where a jump was to be followed.
            let mut headers = honest.headers.clone();
            let detour = headers[at - 1].seq - 1;
            if detour > 13 && detour != headers[at].seq {
                headers.insert(at, chain[detour as usize].clone());
                refused(headers);
            }
        }
        let bytes = honest.headers[at].encode();
        for byte in 0..bytes.len() {
            let mut changed = bytes;
            changed[byte] ^= 1 << source.below(8);
            if let Ok(header) = Header::decode(&changed) {
                let mut headers = honest.headers.clone();
                headers[at] = header;
                refused(headers);
            }
        }
    }
    let mut headers = honest.headers.clone();
    headers.push(chain[0].clone());
    refused(headers);
    refused(Vec::new());
    let mut headers = honest.headers;
    headers.reverse();
    refused(headers);
}

#[test]
fn hostile_headers_never_panic() {
    let mut source = Source::random();
    for _ in 0..2000 {
        let mut headers = Vec::new();
        for _ in 0..source.below(6) {
            let mut header = samples::header(&mut source);
            // Headers that no decoder gives.
            header.seq = [0, 1, 2, u64::MAX, u64::MAX - 1, source.bits()][source.below(6)];
            if source.below(3) == 0 {
                header.memory_bytes = source.bits();
            }
            headers.push(header);
        }
        let is_valid = |header: &&Header| header.validate().is_ok();
        let hash = |header: Option<&Header>| {
            header.filter(is_valid).map_or(VersionHash([0; 32]), Header::hash)
        };
        let (start, end) = (hash(headers.first()), hash(headers.last()));
        let proof = AncestryProof { headers };
        let is_whole = proof.headers.len() == 1 && proof.headers.iter().all(|it| is_valid(&it));
        assert_eq!(proof.verify(start, end).is_ok(), is_whole);
        for header in &proof.headers {
            let is_genesis = header.seq == 0 && header.kind.is_genesis();
            let expected = is_genesis && is_valid(&header);
            assert_eq!(Headers::genesis(header).is_ok(), expected);
        }
    }
}

#[test]
fn jumps_are_defined_for_every_seq() {
    let mut source = Source::random();
    for seq in [1, 2, 3, u64::MAX, u64::MAX - 1, 1 << 63, (1 << 63) - 1] {
        assert!(jump_seq(seq) < seq);
    }
    assert_eq!(jump_seq(0), 0);
    for _ in 0..10_000 {
        let from = samples::number(&mut source).max(1);
        let to = samples::number(&mut source) % from;
        let (mut at, mut steps) = (from, 0);
        while at > to {
            at = next_seq(at, to);
            steps += 1;
        }
        assert_eq!(at, to);
        assert!(steps <= 3 * 64, "{steps} steps from {from} to {to}");
    }
}
