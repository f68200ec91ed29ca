//! The schema's text.
//!
//! It does not know Rust.
//!
//! Invariant: the same model gives the same text.

use std::fmt::Write;

use crate::model::{Method, Migrate, Model};
use crate::names::escaped;
use crate::types::Record;

/// The WIT of an object.
pub(crate) fn print(model: &Model) -> String {
    let mut text = String::new();
    let _ =
        writeln!(text, "package {};\n\ninterface {} {{", model.package, escaped(&model.interface));
    for ty in &model.enums {
        let _ = writeln!(text, "    enum {} {{", escaped(&ty.name));
        for (_, case) in &ty.cases {
            let _ = writeln!(text, "        {},", escaped(case));
        }
        text.push_str("    }\n");
    }
    model.records.iter().chain([&model.state]).for_each(|record| print_record(record, &mut text));
    model.methods.iter().for_each(|method| print_method(method, &mut text));
    if let Some(Migrate { name, before, .. }) = &model.migrate {
        let (name, before) = (escaped(name), escaped(&before.name));
        let _ = writeln!(text, "    migrate: func({name}: {before});");
    }
    text.push_str("}\n");
    text
}

fn print_record(record: &Record, text: &mut String) {
    let _ = writeln!(text, "    record {} {{", escaped(&record.name));
    for field in &record.fields {
        let _ = writeln!(text, "        {}: {},", escaped(&field.name), field.ty.wit());
    }
    text.push_str("    }\n");
}

fn print_method(method: &Method, text: &mut String) {
    let parameters = method.parameters.iter();
    let parameters = parameters.map(|it| format!("{}: {}", escaped(&it.name), it.ty.wit()));
    let parameters = parameters.collect::<Vec<_>>().join(", ");
    let result = method.result.as_ref().map(|ty| format!(" -> {}", ty.wit())).unwrap_or_default();
    let _ = writeln!(text, "    {}: func({parameters}){result};", escaped(&method.name));
}
