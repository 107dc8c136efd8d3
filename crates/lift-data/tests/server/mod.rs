//! A server on the loopback interface that answers well or badly.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// How requests are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// With the file.
    Whole,
    /// With 404.
    NotFound,
    /// With half of the file, after the length of all of it.
    Cut,
}

/// Serves until it is dropped.
pub struct Server {
    /// `127.0.0.1:port`.
    pub address: String,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// Serves `files`, by their paths.
pub fn start(files: &[(&str, &str)], manner: Manner) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let files: Vec<_> = files
        .iter()
        .map(|(path, text)| (path.to_string(), text.to_string()))
        .collect();
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let thread = std::thread::spawn(move || {
        for stream in listener.incoming() {
            if stopped.load(Ordering::SeqCst) {
                return;
            }
            answer(stream.unwrap(), &files, manner);
        }
    });
    Server {
        address,
        stop,
        thread: Some(thread),
    }
}

fn answer(mut stream: TcpStream, files: &[(String, String)], manner: Manner) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut request = String::new();
    reader.read_line(&mut request).unwrap();
    let mut line = String::new();
    while reader.read_line(&mut line).unwrap() > 2 {
        line.clear();
    }
    let path = request.split(' ').nth(1).unwrap_or_default();
    let file = files.iter().find(|(name, _)| name == path);
    let (status, text) = match (manner, file) {
        (Manner::Whole | Manner::Cut, Some((_, text))) => ("200 OK", text.as_str()),
        _ => ("404 Not Found", "no such file"),
    };
    let sent = match manner {
        Manner::Cut => &text[..text.len() / 2],
        Manner::Whole | Manner::NotFound => text,
    };
    let length = text.len();
    let head =
        format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    // The client may have gone away.
    let _ = stream
        .write_all(head.as_bytes())
        .and_then(|()| stream.write_all(sent.as_bytes()));
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
