//! A service in front of a database: calls over HTTP, metrics, and an end in order.
//!
//! `cargo run -p continuant --example service`, then `curl -X POST 127.0.0.1:8080/increment/2`,
//! `curl 127.0.0.1:8080/count` and `curl 127.0.0.1:8080/metrics`; Ctrl-C ends it.
//!
//! It reads only as much of HTTP as it needs. With a web framework, `answer` is what stays: calls
//! are awaited as they are here, on any runtime.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;

use continuant::{Code, Database, Error, ObjectId, Result, args, samples};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// The longest head of a request that is read.
const HEAD_BYTES_MAX: usize = 8192;

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let (db, counter) = open(&std::env::temp_dir().join("continuant-service"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:8080").await?;
        println!("listening on {}", listener.local_addr()?);
        serve(db, counter, listener, async { drop(tokio::signal::ctrl_c().await) }).await?;
        println!("all is durable, and closed");
        Ok(())
    })
}

/// Opens the database and finds its counter, or makes one.
pub(crate) fn open(path: &Path) -> Result<(Arc<Database>, ObjectId)> {
    let db = Database::open(path)?;
    let counter = match db.find("counter")? {
        Some(id) => id,
        None => {
            let code = Code::wasm(samples::COUNTER)?.policy(samples::COUNTER_POLICY);
            db.create(code.name("counter"))?
        }
    };
    Ok((Arc::new(db), counter))
}

/// Serves until `stop`, then ends in order: no new connection, an answer to each request that is
/// under way, and the database closed.
pub(crate) async fn serve(
    db: Arc<Database>,
    counter: ObjectId,
    listener: TcpListener,
    stop: impl Future<Output = ()>,
) -> Result<()> {
    // Each connection holds a sender, so that the receiver ends with the last of them.
    let (under_way, mut ended) = mpsc::channel::<()>(1);
    let of_connections = Arc::clone(&db);
    let accept = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (db, under_way) = (Arc::clone(&of_connections), under_way.clone());
            tokio::spawn(async move {
                if let Err(error) = connection(db, counter, stream).await {
                    eprintln!("{error}");
                }
                drop(under_way);
            });
        }
    });
    stop.await;
    accept.abort();
    drop(accept.await);
    while ended.recv().await.is_some() {}
    let db = Arc::into_inner(db).expect("no connection is left that has it");
    // It waits for the disk.
    tokio::task::spawn_blocking(|| db.close()).await.expect("closing does not panic")
}

async fn connection(
    db: Arc<Database>,
    counter: ObjectId,
    mut stream: TcpStream,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let read = (&mut stream).take(1024).read_buf(&mut head).await?;
        if read == 0 || head.len() > HEAD_BYTES_MAX {
            return Ok(());
        }
    }
    let head = String::from_utf8_lossy(&head);
    let mut words = head.split_ascii_whitespace();
    let (method, path) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    let (status, body) = match answer(db, counter, method, path).await {
        Ok(body) => ("200 OK", body),
        Err(error) => (status(&error), format!("{error}\n")),
    };
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}

/// The body of the response to a request.
async fn answer(db: Arc<Database>, counter: ObjectId, method: &str, path: &str) -> Result<String> {
    match (method, path.split('/').collect::<Vec<_>>().as_slice()) {
        ("POST", ["", "increment", by]) => {
            // A word is turned away by the schema, as an argument of another type.
            let by = by.parse::<u64>().map_or_else(|_| args![*by], |by| args![by]);
            let receipt = db.call(counter, "increment", by).await?;
            Ok(format!("version {}\n", receipt.header.seq))
        }
        // They are read from memory; a snapshot may read the disk.
        ("GET", ["", "metrics"]) => Ok(db.metrics().prometheus()),
        ("GET", ["", "count"]) => {
            let read = move || Ok(db.snapshot(counter)?.get::<u64>("count")?);
            let count: Result<u64> =
                tokio::task::spawn_blocking(read).await.expect("a read does not panic");
            Ok(format!("{}\n", count?))
        }
        _ => Ok("POST /increment/NUMBER, GET /count, GET /metrics\n".to_string()),
    }
}

/// The status of the response that an error makes.
fn status(error: &Error) -> &'static str {
    if error.is_refused() {
        "403 Forbidden"
    } else if error.is_invalid_argument() {
        "400 Bad Request"
    } else if error.is_not_found() {
        "404 Not Found"
    } else if error.is_retryable() {
        "503 Service Unavailable"
    } else {
        "500 Internal Server Error"
    }
}
