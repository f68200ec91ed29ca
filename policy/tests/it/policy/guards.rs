//! Guards: when one is asked, and all that it may read about the step.

use std::sync::Arc;
use std::time::Duration;

use continuant_policy::admission::{Step, admit, explain};
use continuant_policy::definition::Definition;
use continuant_policy::guard::{Evidence, Guards, NotAsked};
use continuant_policy::{Guard, Law, STACK_BYTES};
use object::credential::PublicKey;
use object::effects::{Effects, Output, WakeChange};
use object::head::Head;
use object::image::{BaseImage, Image};
use object::input::{Input, Request};
use object::refusal::{Reason, Verdict};
use object::time::Time;
use schema::{Type, Unread, Value, encode_args, encode_value};

use super::{ANYONE, on_stack};
use crate::generate::{Arena, value};
use crate::module::module;
use crate::source::Source;
use crate::workshop::Workshop;

const WIT: &str = "package a:b; interface i {
    enum light { red, green }
    flags needs { fuel, ice }
    variant way { none, by(u16), at(string) }
    record inner { unseen: list<list<u32>>, deep: option<u8>, names: list<string> }
    record state {
        rows: list<inner>, flag: bool, count: s32, name: string, log: list<u8>, light: light,
        needs: needs, marks: list<char>, inner: inner, maybe-inner: option<inner>,
        far: option<option<string>>, pair: tuple<u8, f64>, way: way, done: result<u32, string>,
        totals: list<u64>,
    }
    fly: func(miles: u64, note: option<string>, tags: list<string>, far-off: tuple<u8, u8>);
}";
const PLENTY: u64 = 1 << 40;

/// Guards that answer by a function.
struct Word<F>(F);

impl<F: FnMut(&Evidence, &Image, &Image) -> Result<(), Verdict>> Guards<Image, Image> for Word<F> {
    type Stop = Verdict;

    fn ask(
        &mut self,
        guard: &Guard,
        evidence: Evidence,
        before: &Image,
        after: &Image,
    ) -> Result<(), Verdict> {
        assert_eq!(guard.wasm(), b"the guard");
        (self.0)(&evidence, before, after)
    }
}

struct Object {
    definition: Definition,
    head: Head,
}

impl Object {
    fn new(policy: &str) -> Object {
        let law = Law::from(policy).guard(b"the guard");
        let definition = Definition::new(&module(WIT, 0), law).unwrap();
        Object { definition, head: Workshop::new().head }
    }

    fn image(&self, state: &Value) -> Image {
        let mut arena = Arena::new(0);
        assert_eq!(arena.place_state(state.clone(), self.definition.schema.state()), 0);
        Image::new(Arc::new(BaseImage::new(&arena.image, vec![]).unwrap()))
    }

    fn state(&self, source: &mut Source) -> Value {
        value(source, &Type::Record(Arc::new(self.definition.schema.state().clone())))
    }

    fn fly(&self, arguments: &[Value]) -> Request {
        let params = &self.definition.schema.method("fly").unwrap().params;
        let arguments = encode_args(arguments, params).unwrap();
        Request::Call { method: "fly".to_string(), arguments }
    }

    /// Returns the admission of a request between two states, under a guard's answer.
    fn admit<G: Guards<Image, Image, Stop = Verdict>>(
        &self,
        request: Request,
        images: [&Image; 2],
        guards: &mut G,
    ) -> Result<Vec<String>, Verdict> {
        let input = Input {
            request,
            time: self.head.header.time.saturating_add(Duration::from_millis(5)),
            credential: None,
        };
        let output = Output { name: "left".to_string(), payload: b"secret".to_vec() };
        let effects = Effects {
            outputs: vec![output],
            wake: WakeChange::Set(Time::from_millis(99)),
            ..Effects::default()
        };
        let step = || Step {
            input: &input,
            before: images[0],
            after: images[1],
            effects: &effects,
            fuel: 1234,
            page_count: 7,
            instrumentation: 1,
            policy: self.definition.policy.hash(),
        };
        let signers = vec![PublicKey([1; 32]), PublicKey([0xAB; 32])];
        let explained = explain(&self.definition, &self.head, &signers, step(), guards);
        let admitted = admit(&self.definition, &self.head, signers, step(), guards);
        // Both have the same word of the guard.
        match (explained.unwrap().guard, &admitted) {
            (Some(Err(one)), Err(other)) => assert_eq!(one, *other),
            (None, Err(verdict)) => assert_ne!(verdict.reason, Reason::Guard),
            (said, admitted) => assert!(said == Some(Ok(())) && admitted.is_ok()),
        }
        admitted.map(|admission| admission.rules)
    }
}

fn run(body: impl FnOnce() + Send) {
    on_stack(STACK_BYTES, body);
}

type Read = Result<Option<Vec<u8>>, Unread>;

fn read(evidence: &Evidence, before: &Image, after: &Image, path: &str) -> Read {
    let mut room = vec![0; 1 << 20];
    let length = evidence.read(before, after, path, &mut room, &mut { PLENTY })?;
    Ok(length.map(|length| room[..length as usize].to_vec()))
}

/// Every path into a value, and the payload that is there.
fn paths(path: &str, found: &Value, ty: &Type, all: &mut Vec<(String, Read)>) {
    match (found, ty) {
        (Value::Option(None), _) => return all.push((path.to_string(), Ok(None))),
        (Value::Option(Some(inner)), Type::Option(ty)) => return paths(path, inner, ty, all),
        _ => all.push((path.to_string(), Ok(Some(encode_value(found, ty).unwrap())))),
    }
    match (found, ty) {
        (Value::Record(fields), Type::Record(record)) => {
            for ((name, inner), field) in fields.iter().zip(&record.fields) {
                paths(&format!("{path}.{name}"), inner, &field.ty, all);
            }
        }
        (Value::Tuple(items), Type::Tuple(tuple)) => {
            for (index, (inner, (ty, _))) in items.iter().zip(&tuple.items).enumerate() {
                paths(&format!("{path}.{index}"), inner, ty, all);
            }
            all.push((format!("{path}.{}", items.len()), Err(Unread::Path)));
        }
        (Value::List(items), Type::List(ty)) => {
            for (index, inner) in items.iter().enumerate() {
                paths(&format!("{path}.{index}"), inner, ty, all);
            }
            all.push((format!("{path}.{}", items.len()), Ok(None)));
            all.push((format!("{path}.+0"), Err(Unread::Path)));
        }
        _ => all.push((format!("{path}.gone"), Err(Unread::Path))),
    }
}

#[test]
fn every_part_of_the_states_is_read_as_its_payload() {
    run(|| {
        let object = Object::new(ANYONE);
        let (mut source, mut count) = (Source::random(), 0);
        let ty = Type::Record(Arc::new(object.definition.schema.state().clone()));
        for _ in 0..60 {
            let states = [object.state(&mut source), object.state(&mut source)];
            let images = [object.image(&states[0]), object.image(&states[1])];
            let mut guard = Word(|evidence: &Evidence, before: &Image, after: &Image| {
                for (root, state) in ["before", "after"].iter().zip(&states) {
                    let mut all = Vec::new();
                    paths(root, state, &ty, &mut all);
                    for (path, expected) in all {
                        assert_eq!(read(evidence, before, after, &path), expected, "{path}");
                        count += 1;
                    }
                }
                Ok(())
            });
            object.admit(Request::Cycle, [&images[0], &images[1]], &mut guard).unwrap();
        }
        assert!(count > 2000, "{count}");
    });
}

/// A text, and a list of texts, as payloads.
fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat()
}

fn texts(texts: &[&str]) -> Vec<u8> {
    let items: Vec<u8> = texts.iter().flat_map(|it| text(it)).collect();
    [&(texts.len() as u32).to_le_bytes()[..], &items].concat()
}

/// Arguments of `fly`, with this for a note.
fn arguments(note: Option<&str>) -> [Value; 4] {
    let tags = Value::List(vec!["a".into(), "".into()]);
    [227u64.into(), note.into(), tags, Value::Tuple(vec![3u8.into(), 4u8.into()])]
}

#[test]
fn arguments_and_facts_are_read_by_name() {
    run(|| {
        let object = Object::new(ANYONE);
        let state = object.image(&object.state(&mut Source::new(1)));
        let number = |number: u64| number.to_le_bytes().to_vec();
        let keys = ["01".repeat(32), "ab".repeat(32)];
        let (header, policy) = (&object.head.header, object.definition.policy.hash());
        let (seq, time) = (header.seq + 1, header.time.saturating_add(Duration::from_millis(5)));
        let facts = [
            ("action", Some(text("fly"))),
            ("principal", Some(text(&format!("Key::\"{}\"", keys[0])))),
            ("signers", Some(texts(&[&keys[0], &keys[1]]))),
            ("effects.outputs", Some(texts(&["left"]))),
            ("effects.wake", Some(number(99))),
            ("lineage.seq", Some(number(seq))),
            ("lineage.age", Some(number(time.as_millis() - object.head.created.as_millis()))),
            ("cost.fuel", Some(number(1234))),
            ("cost.pages", Some(number(7))),
            ("time", Some(number(time.as_millis()))),
            ("substrate.instrumentation", Some(number(1))),
            ("policy", Some(text(&policy.to_string()))),
            ("input.miles", Some(number(227))),
            ("input.note", Some(text("late"))),
            ("input.tags", Some(texts(&["a", ""]))),
            ("input.far_off", Some(vec![3, 4])),
            ("input.far-off", Some(vec![3, 4])),
            ("input.gone", None),
            ("input.", None),
        ];
        let mut guard = Word(|evidence: &Evidence, before: &Image, after: &Image| {
            for (path, expected) in &facts {
                assert_eq!(read(evidence, before, after, path).as_ref(), Ok(expected), "{path}");
            }
            Ok(())
        });
        let request = object.fly(&arguments(Some("late")));
        object.admit(request, [&state, &state], &mut guard).unwrap();
        let mut guard = Word(|evidence: &Evidence, before: &Image, after: &Image| {
            assert_eq!(read(evidence, before, after, "input.note"), Ok(None));
            Ok(())
        });
        object.admit(object.fly(&arguments(None)), [&state, &state], &mut guard).unwrap();
        // The object's own cycle has no argument, of any name, and no asking key.
        let mut guard = Word(|evidence: &Evidence, before: &Image, after: &Image| {
            assert_eq!(read(evidence, before, after, "input.miles"), Ok(None));
            let principal = text(&format!("Object::\"{}\"", object.head.id));
            assert_eq!(read(evidence, before, after, "principal"), Ok(Some(principal)));
            Ok(())
        });
        object.admit(Request::Cycle, [&state, &state], &mut guard).unwrap();
    });
}

#[test]
fn what_no_schema_has_is_not_taken_for_absent() {
    const NOTHING: &str = ", .,input,lineage,lineage.past.fly.count,effects,object,input.tags.0,\
        before.,after.gone,before.flag.0,Action,approvals.rows,effects.outputs.0,cost.fuel.0,\
        beforeflag,action.,state,after.rows.-1,after.rows.4294967296,after.pair.00000000002,\
        lineage.seq.,after..flag,.after,signers.0,time.now,host,policy.guard";
    run(|| {
        let object = Object::new(ANYONE);
        let state = object.image(&object.state(&mut Source::new(1)));
        let mut guard = Word(|evidence: &Evidence, before: &Image, after: &Image| {
            for path in NOTHING.split(',') {
                assert_eq!(read(evidence, before, after, path), Err(Unread::Path), "{path}");
            }
            Ok(())
        });
        let request = object.fly(&arguments(None));
        object.admit(request, [&state, &state], &mut guard).unwrap();
    });
}

#[test]
fn a_read_writes_no_further_than_there_is_room_and_is_paid_for() {
    run(|| {
        let object = Object::new(ANYONE);
        let mut source = Source::new(3);
        let mut state = object.state(&mut source);
        let Value::Record(fields) = &mut state else { panic!("a state is a record") };
        let totals = (0..1000u64).map(Value::from).collect();
        fields.last_mut().unwrap().1 = Value::List(totals);
        let image = object.image(&state);
        let fields = object.definition.schema.state().fields.len() as u64;
        // The names of the record, a value for the list and each item, and the bytes.
        let cost = 8 * (fields + 1 + 1000) + 4 + 8000;
        let mut guard = Word(|evidence: &Evidence, before: &Image, after: &Image| {
            for room in [0, 1, 4, 5, 8003, 8004, 8005] {
                let (mut bytes, mut budget) = (vec![0xEE; room + 1], cost);
                let (room_bytes, rest) = bytes.split_at_mut(room);
                let path = "after.totals";
                let found = evidence.read(before, after, path, room_bytes, &mut budget);
                assert_eq!((found, budget), (Ok(Some(8004)), 0), "as long as it is");
                assert_eq!(rest, [0xEE]);
                let expected = [&1000u32.to_le_bytes()[..], &0u64.to_le_bytes()].concat();
                let shown = room.min(expected.len());
                assert_eq!(room_bytes[..shown], expected[..shown]);
            }
            for budget in [0, 7, cost / 2, cost - 1] {
                let found = evidence.read(before, after, "after.totals", &mut [], &mut { budget });
                assert_eq!(found, Err(Unread::Budget), "{budget}");
            }
            Ok(())
        });
        object.admit(Request::Cycle, [&image, &image], &mut guard).unwrap();
    });
}

#[test]
fn a_guard_is_asked_of_what_the_policy_permits_and_refuses_it() {
    run(|| {
        let policy = r#"@id("open") permit(principal, action, resource);
            @id("fuel") forbid(principal, action, resource) when { context.before.flag };"#;
        let object = Object::new(policy);
        let state = |flag: bool| {
            let mut state = object.state(&mut Source::new(1));
            let Value::Record(fields) = &mut state else { panic!("a state is a record") };
            fields[1].1 = flag.into();
            object.image(&state)
        };
        let (open, closed, mut asked) = (state(false), state(true), 0);
        let mut refusing = Word(|_: &Evidence, _: &Image, _: &Image| {
            asked += 1;
            Err(Guard::refuses(-7))
        });
        let refused = object.admit(Request::Cycle, [&open, &open], &mut refusing).unwrap_err();
        assert_eq!((refused.reason, refused.rules.len()), (Reason::Guard, 0));
        assert_eq!(refused.to_string(), "guard: code -7");
        let refused = object.admit(Request::Cycle, [&closed, &open], &mut refusing).unwrap_err();
        assert_eq!(refused.reason, Reason::Forbidden);
        assert_eq!(asked, 2, "once to explain and once to admit, of what the policy permits");
        // A verifier that cannot run guards takes their answers on trust.
        let rules = object.admit(Request::Cycle, [&open, &open], &mut NotAsked).unwrap();
        assert_eq!(rules, ["open"]);
    });
}
