//! Direct writes: every type of a fixed size, across pages, and refused values.

use std::sync::Arc;

use expect_test::{Expect, expect};
use object::Error;
use object::image::{BaseImage, Image};
use object::limits::PAGE_BYTES;
use object::memory::Memory;
use schema::{Schema, Type, Value, encode_value, write};
use serde_json::{Value as Json, json};

use crate::module::{STATE, WIT};
use crate::wrap::wrap;

struct Object {
    schema: Schema,
    image: Image,
}

fn object(wit: &str, pages: usize) -> Object {
    let schema = Schema::parse(wit).unwrap();
    let base = BaseImage::new(&vec![0; pages * PAGE_BYTES], vec![]).unwrap();
    Object { schema, image: Image::new(Arc::new(base)) }
}

impl Object {
    fn field(&self, path: &str, json: &Json) -> (String, Vec<u8>) {
        let place = self.schema.resolve(path).unwrap();
        let value = Value::from_json(json, place.ty()).unwrap();
        (path.to_string(), encode_value(&value, place.ty()).unwrap())
    }

    /// Writes, and returns the indices of the pages that changed.
    fn write(&mut self, fields: &[(String, Vec<u8>)]) -> Result<Vec<u32>, Error> {
        let pages = write::apply(&self.schema, STATE, &self.image, fields)?;
        let changed = pages.iter().map(|(index, _)| *index).collect();
        self.image = self.image.step(self.image.bytes_count(), pages)?;
        Ok(changed)
    }

    fn read(&self, path: &str) -> Json {
        self.schema.read(&self.image, STATE, path).unwrap().to_json()
    }
}

#[test]
fn every_type_of_a_fixed_size_can_be_written() {
    let mut object = object(WIT, 2);
    let fields = [
        ("count", json!(u64::MAX)),
        ("locked", json!(true)),
        ("byte", json!(255)),
        ("short", json!(65535)),
        ("word", json!(4294967295u32)),
        ("heat", json!(-0.5)),
        ("height", json!("NaN")),
        ("tiny", json!(-128)),
        ("low", json!(-32768)),
        ("deep", json!(-2147483648)),
        ("far", json!(i64::MIN)),
        ("mark", json!("é")),
        ("light", json!("green")),
        ("needs", json!(["fuel", "crew"])),
        ("spot", json!({ "row": 3, "column": "C" })),
        ("at", json!([-2, true])),
        ("next", json!(9)),
        ("event", json!({ "hold": 77 })),
        ("done", json!({ "ok": 3 })),
    ];
    for (path, json) in &fields {
        let before = object.schema.read_state(&object.image, STATE).unwrap();
        assert_eq!(object.write(&[object.field(path, json)]).unwrap(), [1], "{path}");
        assert_eq!(object.read(path), *json);
        // And nothing else changed.
        let after = object.schema.read_state(&object.image, STATE).unwrap();
        for field in &object.schema.state().fields {
            let [before, after] = [&before, &after].map(|it| it.field(&field.name));
            let same = format!("{before:?}") == format!("{after:?}");
            assert_eq!(same, field.name != *path, "{} by {path}", field.name);
        }
    }
    let all: Vec<_> = fields.iter().map(|(path, json)| object.field(path, json)).collect();
    assert_eq!(object.write(&all).unwrap(), [0; 0], "it is all there already");
    object.write(&[object.field("next", &json!(null))]).unwrap();
    object.write(&[object.field("event", &json!("cancel"))]).unwrap();
    assert_eq!((object.read("next"), object.read("event")), (json!(null), json!("cancel")));
    object.write(&[object.field("spot.column", &json!("D"))]).unwrap();
    object.write(&[object.field("at.0", &json!(5))]).unwrap();
    assert_eq!(object.read("spot"), json!({ "row": 3, "column": "D" }));
    assert_eq!(object.read("at"), json!([5, true]));
}

#[test]
fn a_field_may_lie_in_many_pages() {
    let many = |ty: &str, count: usize| vec![ty; count].join(", ");
    let wit = format!(
        "package a:b; interface i {{
             record state {{
                 lead: tuple<{}>, wide: tuple<{}>, tail: u8,
             }}
         }}",
        many("u64", 511),
        many("u64", 1000)
    );
    let mut object = object(&wit, 5);
    let wide: Vec<u64> = (0..1000).map(|at| at * at + 1).collect();
    let fields = [object.field("wide", &json!(wide)), object.field("tail", &json!(7))];
    assert_eq!(object.write(&fields).unwrap(), [1, 2, 3]);
    assert_eq!((object.read("wide"), object.read("tail")), (json!(wide), json!(7)));
    assert_eq!(object.read("wide.0"), json!(1), "the last eight bytes of the first page");
    let fields = [object.field("wide.1", &json!(0)), object.field("wide.999", &json!(1))];
    assert_eq!(object.write(&fields).unwrap(), [2, 3]);
    let fields = [object.field("wide.1", &json!(5)), object.field("wide.1", &json!(0))];
    assert_eq!(object.write(&fields).unwrap(), [0; 0], "the last write of a field counts");
}

#[test]
fn items_of_a_list_are_written_where_they_are() {
    let wit = "package a:b; interface i { record state { rows: list<u32>, n: u32 } }";
    let mut object = object(wit, 3);
    let mut page = [0; PAGE_BYTES];
    page[..4].copy_from_slice(&(2 * PAGE_BYTES as u32).to_le_bytes());
    page[4] = 3;
    let pages = vec![(1, Arc::new(page))];
    object.image = object.image.step(object.image.bytes_count(), pages).unwrap();
    assert_eq!(object.write(&[object.field("rows.2", &json!(9))]).unwrap(), [2]);
    assert_eq!(object.read("rows"), json!([0, 0, 9]));
    let error = object.write(&[object.field("rows.3", &json!(9))]).unwrap_err();
    expect!["state.rows.3 in memory: expected more than 3 items, found 3"]
        .assert_eq(&error.to_string());
}

#[test]
fn what_has_no_fixed_size_or_no_place_is_refused() {
    let mut shop = object(WIT, 2);
    let mut check = |field: (String, Vec<u8>), expected: Expect| {
        let before = shop.image.clone();
        let fine = shop.field("byte", &json!(1));
        let error = shop.write(&[fine, field]).unwrap_err();
        expected.assert_eq(&wrap(&error.to_string()));
        assert!(shop.image.is_same(&before));
    };
    let encoded = |value: &str| encode_value(&value.into(), &Type::String).unwrap();
    check(
        ("name".into(), encoded("B 12")),
        expect![[r#"value itself: expected a value of a fixed size: use a method, found "B 12""#]],
    );
    check(
        ("name".into(), encoded("")),
        expect![[r#"value itself: expected a value of a fixed size: use a method, found """#]],
    );
    check(
        ("log".into(), vec![1, 0, 0, 0, 7]),
        expect!["value itself: expected a value of a fixed size: use a method, found 1 bytes"],
    );
    check(
        ("gone".into(), vec![]),
        expect![[r#"
            no field "gone"; there is count, locked, byte, short, word, heat, height, tiny,
                low, deep, far, mark, light, needs, spot, at, next, event, done, name, log"#]],
    );
    check(("name.0".into(), vec![]), expect![[r#"no field "0"; there is only string as a whole"#]]);
    check(("byte".into(), vec![]), expect!["value: at offset 0 expected 1 bytes, found 0 bytes"]);
    check(
        ("byte".into(), vec![1, 2]),
        expect!["value: at offset 1 expected the end, found 1 more bytes"],
    );
    check(("locked".into(), vec![2]), expect!["value: at offset 0 expected 0 or 1, found 0x2"]);
    check(
        ("light".into(), vec![2]),
        expect!["value: at offset 0 expected a discriminant below 2, found 2"],
    );
    check(
        ("height".into(), vec![0xFF; 8]),
        expect!["value: at offset 0 expected the canonical NaN, found 0xffffffffffffffff"],
    );
    let small = object(WIT, 1);
    let field = small.field("byte", &json!(1));
    let error = write::apply(&small.schema, STATE, &small.image, &[field]).unwrap_err();
    expect!["state.byte in memory: expected bytes within the 4096 of memory, found 1 at 4105"]
        .assert_eq(&error.to_string());
}
