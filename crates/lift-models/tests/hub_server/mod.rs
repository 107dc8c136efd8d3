//! A Hugging Face hub on the loopback interface: a few files of one model, answered for well or badly.

// Each test program takes what it needs.
#![allow(dead_code)]

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use sha1::{Digest, Sha1};
use sha2::Sha256;

/// The commit that every revision of the model is.
pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Request {
    /// `GET` or `HEAD`.
    pub method: String,
    /// With the slash.
    pub path: String,
    /// By their names in lower case.
    pub headers: BTreeMap<String, String>,
}

impl Request {
    /// Where the bytes that are asked for begin.
    pub fn begin(&self) -> Option<usize> {
        let range = self.headers.get("range")?.strip_prefix("bytes=")?;
        range.strip_suffix('-')?.parse().ok()
    }
}

/// What is answered.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    /// 200, 404, ...
    pub status: u16,
    /// Besides the length.
    pub headers: Vec<(&'static str, String)>,
    /// Its length is announced.
    pub body: Vec<u8>,
    /// The connection ends after so many bytes of it.
    pub cut: Option<usize>,
    /// How the body comes otherwise.
    pub manner: Manner,
}

/// How a body comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Manner {
    /// At once.
    #[default]
    AtOnce,
    /// A byte each tenth of a second, as long as somebody reads.
    Drip,
    /// Its first byte, and then nothing for five seconds.
    Silent,
    /// Without a length, again and again until nobody reads.
    Endless,
}

impl Reply {
    /// Without a body.
    pub fn status(status: u16) -> Self {
        Self {
            status,
            ..Self::default()
        }
    }

    /// With one more header.
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The bytes, from where the request wants them.
    pub fn bytes(request: &Request, bytes: &[u8]) -> Self {
        match request.begin() {
            None => Self {
                status: 200,
                body: bytes.to_vec(),
                ..Self::default()
            },
            Some(begin) if begin >= bytes.len() => Self::status(416),
            Some(begin) => {
                let range = format!("bytes {begin}-{}/{}", bytes.len() - 1, bytes.len());
                let reply = Self {
                    status: 206,
                    body: bytes[begin..].to_vec(),
                    ..Self::default()
                };
                reply.with("Content-Range", range)
            }
        }
    }
}

/// The files of `org/name`.
#[derive(Clone, Debug, Default)]
pub struct Model {
    /// `org/name`.
    pub repo: &'static str,
    /// By name.
    pub files: BTreeMap<&'static str, Vec<u8>>,
    /// Address of the server that has the large files (`.safetensors`, `.bin`); none: they are here.
    pub storage: Option<String>,
}

impl Model {
    /// The demo's CLIP, as `lift/shapes-clip`.
    pub fn demo() -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/shapes-clip");
        let names = ["config.json", "tokenizer.json", "model.safetensors"];
        let files = names.map(|name| (name, std::fs::read(folder.join(name)).unwrap()));
        Self {
            repo: "lift/shapes-clip",
            files: BTreeMap::from(files),
            storage: None,
        }
    }

    /// What the hub answers.
    pub fn answer(&self, request: &Request) -> Reply {
        let path = request
            .path
            .strip_prefix(&format!("/{}/resolve/", self.repo));
        let Some((_, file)) = path.and_then(|rest| rest.split_once('/')) else {
            return Reply::status(404).with("X-Error-Code", "RepoNotFound");
        };
        let Some(bytes) = self.files.get(file) else {
            return Reply::status(404)
                .with("X-Error-Code", "EntryNotFound")
                .with("X-Repo-Commit", COMMIT);
        };
        let reply = match &self.storage {
            Some(storage) if file.ends_with(".safetensors") || file.ends_with(".bin") => {
                Reply::status(302)
                    .with("Location", format!("http://{storage}/{file}?signed=1"))
                    .with("X-Linked-Etag", format!("\"{}\"", sha256(bytes)))
                    .with("X-Linked-Size", bytes.len().to_string())
            }
            _ => Reply::bytes(request, bytes).with("ETag", format!("\"{}\"", git_blob(bytes))),
        };
        reply.with("X-Repo-Commit", COMMIT)
    }
}

/// Hex digits of the SHA-256.
pub fn sha256(bytes: &[u8]) -> String {
    digits(&Sha256::digest(bytes))
}

/// What `git hash-object` prints.
pub fn git_blob(bytes: &[u8]) -> String {
    let head = format!("blob {}\0", bytes.len());
    digits(
        &Sha1::new()
            .chain_update(head)
            .chain_update(bytes)
            .finalize(),
    )
}

fn digits(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Serves until it is dropped.
pub struct Server {
    /// `127.0.0.1:port`.
    pub address: String,
    requests: Arc<Mutex<Vec<Request>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Answers each request, one after the other, by what `answer` says.
    pub fn start(answer: impl Fn(&Request) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (requests, stop) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let (log, stopped) = (Arc::clone(&requests), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                serve(stream.unwrap(), &answer, &log);
            }
        });
        Self {
            address,
            requests,
            stop,
            thread: Some(thread),
        }
    }

    /// For `HF_ENDPOINT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The requests since the last call.
    pub fn requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }
}

fn serve(mut stream: TcpStream, answer: &impl Fn(&Request) -> Reply, log: &Mutex<Vec<Request>>) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let Some(Ok(first)) = lines.next() else {
        return;
    };
    let mut words = first.split(' ').map(str::to_owned);
    let (method, path) = (words.next().unwrap(), words.next().unwrap());
    let lines = lines
        .map_while(Result::ok)
        .take_while(|line| !line.is_empty());
    let headers = lines.filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_lowercase(), value.trim().to_owned()))
    });
    let request = Request {
        method,
        path,
        headers: headers.collect(),
    };
    let reply = answer(&request);
    let mut head = format!("HTTP/1.1 {} x\r\n", reply.status);
    for (name, value) in &reply.headers {
        head += &format!("{name}: {value}\r\n");
    }
    if reply.manner != Manner::Endless {
        head += &format!("Content-Length: {}\r\n", reply.body.len());
    }
    head += "Connection: close\r\n\r\n";
    let mut sent = reply.body.as_slice();
    if let Some(cut) = reply.cut {
        sent = &sent[..cut];
    }
    if request.method == "HEAD" {
        sent = &[];
    }
    log.lock().unwrap().push(request);
    // The client may have gone away.
    let _ = stream
        .write_all(head.as_bytes())
        .and_then(|()| send(&mut stream, sent, reply.manner));
}

fn send(stream: &mut TcpStream, body: &[u8], manner: Manner) -> std::io::Result<()> {
    match (manner, body) {
        (Manner::AtOnce, _) | (_, []) => stream.write_all(body),
        (Manner::Drip, _) => body.iter().try_for_each(|&byte| {
            std::thread::sleep(Duration::from_millis(100));
            stream.write_all(&[byte])
        }),
        (Manner::Silent, [first, ..]) => {
            stream.write_all(&[*first])?;
            std::thread::sleep(Duration::from_secs(5));
            Ok(())
        }
        (Manner::Endless, _) => loop {
            stream.write_all(body)?;
        },
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the thread.
        let _ = TcpStream::connect(&self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
