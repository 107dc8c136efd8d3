//! Models by name, against a hub on the loopback interface.

mod hub_server;
mod torch_file;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use hub_server::{COMMIT, Manner, Model, Reply, Request, Server, git_blob, sha256};
use lift_models::{
    Clip, TensorFile,
    hub::{Hub, ModelId},
};
use tempfile::TempDir;

const WEIGHTS: &[u8] = b"these are no tensors, but nobody looks before the model is loaded";

/// A hub's client with a cache of its own.
struct Setting {
    dir: TempDir,
    hub: Hub,
}

impl Setting {
    fn new(endpoint: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let hub = Hub {
            endpoint: endpoint.into(),
            cache: dir.path().join("hub"),
            token: Some("secret".into()),
            offline: false,
            patience: Duration::from_secs(1),
        };
        Self { dir, hub }
    }

    fn fetch(&self, id: &str) -> Result<PathBuf, String> {
        let id = ModelId::parse(id).unwrap();
        let pinned = self.hub.fetch(&id).map_err(|error| error.to_string())?;
        assert_eq!(pinned, id.at(COMMIT));
        self.hub.find(&pinned).map_err(|error| error.to_string())
    }

    fn folder(&self) -> PathBuf {
        self.dir.path().join("hub/models--org--name")
    }

    /// The message of a fetch that fails, with the cache's folder and the server's port taken out.
    fn refusal(&self, id: &str, servers: &[&Server]) -> String {
        let message = self.fetch(id).unwrap_err();
        let message = message.replace(&self.folder().display().to_string(), "CACHE");
        servers
            .iter()
            .enumerate()
            .fold(message, |text, (i, server)| {
                text.replace(&server.url(), ["HUB", "STORAGE"][i])
            })
    }
}

fn model() -> Model {
    let text = |text: &str| text.as_bytes().to_vec();
    Model {
        repo: "org/name",
        files: BTreeMap::from([
            ("config.json", text("{}")),
            ("tokenizer.json", text("{\"version\": 1}")),
            ("model.safetensors", WEIGHTS.to_vec()),
        ]),
        storage: None,
    }
}

fn without(file: &str) -> Model {
    let mut model = model();
    model.files.remove(file);
    model
}

fn serve(model: Model) -> Server {
    Server::start(move |request| model.answer(request))
}

/// A hub whose large files lie on another server.
fn serve_with_storage(answer: impl Fn(&Request) -> Reply + Send + 'static) -> (Server, Server) {
    let storage = Server::start(answer);
    let model = Model {
        storage: Some(storage.address.clone()),
        ..model()
    };
    (serve(model), storage)
}

fn names(requests: &[Request]) -> Vec<String> {
    let name = |request: &Request| format!("{} {}", request.method, request.path);
    requests.iter().map(name).collect()
}

#[test]
fn a_model_is_fetched_in_pythons_layout_and_asked_for_once_later() {
    let (server, storage) = serve_with_storage(|request| Reply::bytes(request, WEIGHTS));
    let mut setting = Setting::new(&server.url());
    let snapshot = setting.fetch("org/name").unwrap();

    let folder = setting.folder();
    assert_eq!(snapshot, folder.join("snapshots").join(COMMIT));
    assert_eq!(
        fs::read(snapshot.join("model.safetensors")).unwrap(),
        WEIGHTS
    );
    assert_eq!(
        fs::read_to_string(folder.join("refs/main")).unwrap(),
        COMMIT
    );
    for (file, etag) in [
        ("model.safetensors", sha256(WEIGHTS)),
        ("config.json", git_blob(b"{}")),
    ] {
        let link = fs::read_link(snapshot.join(file)).unwrap();
        assert_eq!(link, Path::new("../../blobs").join(etag));
    }
    let absent = folder.join(".no_exist").join(COMMIT);
    assert!(absent.join("preprocessor_config.json").is_file());
    let blobs: Vec<_> = fs::read_dir(folder.join("blobs")).unwrap().collect();
    assert_eq!(blobs.len(), 3, "no partial file is left");

    server.requests();
    setting.fetch("org/name").unwrap();
    let asked = names(&server.requests());
    assert_eq!(asked, ["HEAD /org/name/resolve/main/config.json"]);
    setting.fetch(&format!("org/name@{COMMIT}")).unwrap();
    setting.hub.offline = true;
    setting.fetch("org/name").unwrap();
    assert!(server.requests().is_empty());
    assert_eq!(storage.requests().len(), 1);
}

#[test]
fn the_token_is_sent_to_the_hub_and_to_no_other_server() {
    let (server, storage) = serve_with_storage(|request| Reply::bytes(request, WEIGHTS));
    Setting::new(&server.url()).fetch("org/name").unwrap();
    let tokens = |server: &Server| {
        let token = |r: Request| r.headers.get("authorization").cloned();
        server.requests().into_iter().map(token).collect::<Vec<_>>()
    };
    let sent = tokens(&server);
    assert!(sent.len() > 5 && sent.iter().all(|t| t.as_deref() == Some("Bearer secret")));
    assert_eq!(tokens(&storage), [None]);
}

#[test]
fn a_renamed_model_is_followed_on_the_same_server() {
    let model = model();
    let server = Server::start(
        move |request| match request.path.strip_prefix("/old/name/") {
            Some(rest) => Reply::status(307).with("Location", format!("/org/name/{rest}")),
            None => model.answer(request),
        },
    );
    let snapshot = Setting::new(&server.url()).fetch("old/name").unwrap();
    assert!(snapshot.ends_with(format!("models--old--name/snapshots/{COMMIT}")));
    let requests = server.requests();
    assert!(
        requests
            .iter()
            .all(|r| r.headers.contains_key("authorization"))
    );
}

#[test]
fn a_pull_request_is_a_revision() {
    let server = serve(model());
    let setting = Setting::new(&server.url());
    setting.fetch("org/name@refs/pr/15").unwrap();
    let asked = names(&server.requests());
    assert_eq!(
        asked[0],
        "HEAD /org/name/resolve/refs%2Fpr%2F15/config.json"
    );
    assert!(setting.folder().join("refs/refs/pr/15").is_file());
}

#[test]
fn a_cut_connection_is_gone_on_with() {
    let (server, storage) = serve_with_storage(|request| Reply {
        cut: Some(10).filter(|_| request.begin().unwrap_or(0) < 30),
        ..Reply::bytes(request, WEIGHTS)
    });
    let setting = Setting::new(&server.url());
    let snapshot = setting.fetch("org/name").unwrap();
    assert_eq!(
        fs::read(snapshot.join("model.safetensors")).unwrap(),
        WEIGHTS
    );
    let begins: Vec<_> = storage.requests().iter().map(Request::begin).collect();
    assert_eq!(begins, [None, Some(10), Some(20), Some(30)]);
}

#[test]
fn a_server_that_ignores_ranges_gives_all_again() {
    let count = AtomicUsize::new(0);
    let (server, storage) = serve_with_storage(move |_| Reply {
        status: 200,
        body: WEIGHTS.to_vec(),
        cut: Some(10).filter(|_| count.fetch_add(1, Ordering::SeqCst) == 0),
        ..Reply::default()
    });
    let setting = Setting::new(&server.url());
    let snapshot = setting.fetch("org/name").unwrap();
    assert_eq!(
        fs::read(snapshot.join("model.safetensors")).unwrap(),
        WEIGHTS
    );
    let begins: Vec<_> = storage.requests().iter().map(Request::begin).collect();
    assert_eq!(begins, [None, Some(10)]);
}

#[test]
fn a_later_run_goes_on_with_what_an_earlier_one_got() {
    let (server, storage) = serve_with_storage(|request| Reply {
        cut: Some(if request.begin().is_none() { 10 } else { 0 }),
        ..Reply::bytes(request, WEIGHTS)
    });
    let mut setting = Setting::new(&server.url());
    let message = setting.refusal("org/name", &[&server, &storage]);
    assert!(
        message.starts_with(&format!(
            "org/name: cannot fetch HUB/org/name/resolve/{COMMIT}/model.safetensors: the answer broke off: "
        )) && message.ends_with("\nhint: run the same command again: it goes on where it stopped"),
        "{message}"
    );
    assert!(!setting.folder().join("refs").exists());

    let (server, storage) = serve_with_storage(|request| Reply::bytes(request, WEIGHTS));
    setting.hub.endpoint = server.url();
    setting.fetch("org/name").unwrap();
    assert_eq!(storage.requests()[0].begin(), Some(10));
}

#[test]
fn a_damaged_part_of_an_earlier_run_is_fetched_again() {
    let (server, storage) = serve_with_storage(|request| Reply::bytes(request, WEIGHTS));
    let setting = Setting::new(&server.url());
    let part = format!("blobs/{}.incomplete", sha256(WEIGHTS));
    fs::create_dir_all(setting.folder().join("blobs")).unwrap();
    for (left, begins) in [
        ("damage", vec![Some(6), None]),
        (&"x".repeat(1000), vec![None]),
    ] {
        fs::write(setting.folder().join(&part), left).unwrap();
        let snapshot = setting.fetch("org/name").unwrap();
        assert_eq!(
            fs::read(snapshot.join("model.safetensors")).unwrap(),
            WEIGHTS
        );
        let asked: Vec<_> = storage.requests().iter().map(Request::begin).collect();
        assert_eq!(asked, begins);
        fs::remove_dir_all(snapshot).unwrap();
        fs::remove_file(setting.folder().join("blobs").join(sha256(WEIGHTS))).unwrap();
    }
}

#[test]
fn bytes_with_another_hash_are_refused_and_not_kept() {
    let (server, storage) = serve_with_storage(|request| {
        let mut changed = WEIGHTS.to_vec();
        changed[7] ^= 1;
        Reply::bytes(request, &changed)
    });
    let setting = Setting::new(&server.url());
    let message = setting.refusal("org/name", &[&server, &storage]);
    assert!(
        message.starts_with("org/name: model.safetensors came damaged: its hash is ")
            && message.contains(&format!(
                ", the hub's {}\nhint: run the same command again",
                sha256(WEIGHTS)
            )),
        "{message}"
    );
    let blobs = fs::read_dir(setting.folder().join("blobs")).unwrap();
    assert_eq!(blobs.count(), 2, "those of the two small files");
}

#[test]
fn a_small_file_with_another_git_hash_is_refused() {
    let model = model();
    let server = Server::start(move |request| {
        let mut reply = model.answer(request);
        if request.method == "GET" && request.path.ends_with("config.json") {
            reply.body = b"[]".to_vec();
        }
        reply
    });
    let message = Setting::new(&server.url()).refusal("org/name", &[&server]);
    let expected = format!(
        "org/name: config.json came damaged: its hash is {}, the hub's {}\n",
        git_blob(b"[]"),
        git_blob(b"{}")
    );
    assert!(message.starts_with(&expected), "{message}");
}

#[test]
fn more_or_fewer_bytes_than_announced_are_refused() {
    let more = [WEIGHTS, b"!"].concat();
    for (bytes, reason) in [
        (
            more,
            "wrong size: 66 bytes of 65\nhint: is it the right server (HF_ENDPOINT)?",
        ),
        (
            WEIGHTS[..60].to_vec(),
            "the server does not go on where it is asked to\nhint: run the same command again: it goes on where it stopped",
        ),
    ] {
        let (server, storage) = serve_with_storage(move |request| Reply::bytes(request, &bytes));
        let message = Setting::new(&server.url()).refusal("org/name", &[&server, &storage]);
        let url = format!("HUB/org/name/resolve/{COMMIT}/model.safetensors");
        assert_eq!(message, format!("org/name: cannot fetch {url}: {reason}"));
    }
}

#[test]
fn what_is_neither_a_folder_nor_on_the_hub_is_said_to_be_neither() {
    let server = serve(model());
    let message = Setting::new(&server.url()).refusal("models/foo", &[&server]);
    assert_eq!(
        message,
        "models/foo: no such file or folder, and no such model on the hub (HUB/models/foo)\n\
         hint: check the path, or the spelling of the name; a private model needs HF_TOKEN"
    );
    // A server without the hub's headers.
    let server = Server::start(|_| Reply::status(404));
    let bare = Setting::new(&server.url()).refusal("models/foo", &[&server]);
    assert_eq!(bare, message);
}

#[test]
fn closed_models_and_unknown_revisions_say_what_to_do() {
    let cases = [
        (
            401,
            "RepoNotFound",
            "org/name: no such file or folder, and no such model on the hub, or one that is private or gated: \
             HUB/org/name/resolve/main/config.json answers 401\n\
             hint: check the path, or the spelling of the name; give a token by HF_TOKEN, or log in with `hf auth login`",
        ),
        (
            403,
            "GatedRepo",
            "org/name: a gated model: HUB/org/name/resolve/main/config.json answers 403\n\
             hint: ask for access on HUB/org/name; give a token by HF_TOKEN, or log in with `hf auth login`",
        ),
        (
            404,
            "RevisionNotFound",
            "org/name: the model has no revision \"main\" on the hub\n\
             hint: its branches, tags and commits are on HUB/org/name/tree/main",
        ),
        (
            418,
            "",
            "org/name: HUB/org/name/resolve/main/config.json answers 418\nhint: is it a hub (HF_ENDPOINT)?",
        ),
        (
            200,
            "",
            "org/name: HUB/org/name/resolve/main/config.json does not say the commit (X-Repo-Commit)\n\
             hint: is it a hub (HF_ENDPOINT)?",
        ),
    ];
    for (status, code, expected) in cases {
        let server = Server::start(move |_| Reply::status(status).with("X-Error-Code", code));
        let mut setting = Setting::new(&server.url());
        setting.hub.token = None;
        assert_eq!(setting.refusal("org/name", &[&server]), expected);
    }
    let server = Server::start(|_| Reply::status(403).with("X-Error-Message", "not for you"));
    let message = Setting::new(&server.url()).refusal("org/name", &[&server]);
    assert!(
        message.contains("answers 403: not for you\n")
            && message.ends_with("the token (HF_TOKEN) may be expired or not allowed to read it"),
        "{message}"
    );
}

#[test]
fn a_model_without_a_file_of_tensors_is_told_so() {
    let server = serve(without("model.safetensors"));
    let message = Setting::new(&server.url()).refusal("org/name", &[&server]);
    assert_eq!(
        message,
        "org/name: it has none of model.safetensors, model.safetensors.index.json, open_clip_model.safetensors, \
         pytorch_model.bin, pytorch_model.bin.index.json, open_clip_pytorch_model.bin\n\
         hint: is it a CLIP or a ViT of timm?"
    );
}

#[test]
fn all_files_that_an_index_names_are_fetched() {
    const INDEX: &str = "model.safetensors.index.json";
    let parts = ["a.safetensors", "b.safetensors"];
    let mut model = without("model.safetensors");
    let index =
        br#"{"weight_map": {"x": "a.safetensors", "y": "b.safetensors", "z": "a.safetensors"}}"#;
    model.files.insert(INDEX, index.to_vec());
    model.files.insert(parts[0], WEIGHTS.to_vec());
    let server = serve(model.clone());
    let message = Setting::new(&server.url()).refusal("org/name", &[&server]);
    assert_eq!(
        message,
        "org/name: model.safetensors.index.json names b.safetensors, which is not there\n\
         hint: the model is not whole; take another revision, or tell its publisher"
    );

    model.files.insert(parts[1], WEIGHTS.repeat(2));
    let server = serve(model);
    let mut setting = Setting::new(&server.url());
    let snapshot = setting.fetch("org/name").unwrap();
    assert_eq!(fs::read(snapshot.join(parts[0])).unwrap(), WEIGHTS);
    assert_eq!(
        fs::read(snapshot.join(parts[1])).unwrap(),
        WEIGHTS.repeat(2)
    );
    // Known as whole without the network; where a part is gone, it is not.
    setting.hub.offline = true;
    setting.fetch("org/name").unwrap();
    fs::remove_file(snapshot.join(parts[1])).unwrap();
    let message = setting.fetch("org/name").unwrap_err();
    assert!(message.contains("nor in the cache"), "{message}");
}

#[test]
fn a_state_dict_of_torch_is_fetched_and_loaded_where_there_is_nothing_else() {
    let demo = Model::demo();
    let folder = tempfile::tempdir().unwrap();
    let original = folder.path().join("model.safetensors");
    fs::write(&original, &demo.files["model.safetensors"]).unwrap();
    let bytes = torch_file::state_dict(&TensorFile::read(&original).unwrap().tensors);

    let mut model = without("model.safetensors");
    model.files.insert("pytorch_model.bin", bytes.clone());
    for file in ["config.json", "tokenizer.json"] {
        model.files.insert(file, demo.files[file].clone());
    }
    let served = bytes.clone();
    let storage = Server::start(move |request| Reply::bytes(request, &served));
    model.storage = Some(storage.address.clone());
    let server = serve(model.clone());
    let mut setting = Setting::new(&server.url());
    let snapshot = setting.fetch("org/name").unwrap();
    let link = fs::read_link(snapshot.join("pytorch_model.bin")).unwrap();
    assert_eq!(link, Path::new("../../blobs").join(sha256(&bytes)));
    assert_eq!(names(&storage.requests()).len(), 1);

    // What is known not to be there is not asked for again.
    server.requests();
    setting.fetch("org/name").unwrap();
    assert_eq!(server.requests().len(), 1);
    setting.hub.offline = true;
    setting.fetch("org/name").unwrap();

    fs::write(
        folder.path().join("config.json"),
        &demo.files["config.json"],
    )
    .unwrap();
    let (expected, loaded) = (
        Clip::load(folder.path()).unwrap(),
        Clip::load(&snapshot).unwrap(),
    );
    let (expected, loaded) = (expected.named_tensors(), loaded.named_tensors());
    assert_eq!(expected.len(), loaded.len());
    for ((name, expected), (other, loaded)) in expected.iter().zip(&loaded) {
        assert_eq!(name, other);
        assert!(loaded.equal(expected), "{name}");
    }

    // A file by itself, and safetensors first where a folder has both.
    let file = folder.path().join("model.pt");
    fs::write(&file, &bytes).unwrap();
    assert_eq!(
        Clip::load(&file).unwrap().named_tensors().len(),
        expected.len()
    );
    fs::write(folder.path().join("pytorch_model.bin"), "damaged").unwrap();
    assert!(Clip::load(folder.path()).is_ok());
    fs::remove_file(original).unwrap();
    let message = Clip::load(folder.path()).unwrap_err().to_string();
    assert!(
        message.contains("pytorch_model.bin: not a file of torch.save"),
        "{message}"
    );

    // A repository that has safetensors too is read from these.
    model.files.insert("model.safetensors", WEIGHTS.to_vec());
    model.storage = None;
    let server = serve(model);
    let snapshot = Setting::new(&server.url()).fetch("org/name").unwrap();
    assert!(!snapshot.join("pytorch_model.bin").exists());
}

#[test]
fn open_clips_files_are_fetched_where_the_others_are_not() {
    let mut model = without("model.safetensors");
    model
        .files
        .insert("open_clip_model.safetensors", WEIGHTS.to_vec());
    model.files.insert("open_clip_config.json", b"[1]".to_vec());
    let server = serve(model);
    let setting = Setting::new(&server.url());
    let snapshot = setting.fetch("org/name").unwrap();
    assert!(snapshot.join("open_clip_config.json").is_file());
    let tensors = fs::read(snapshot.join("open_clip_model.safetensors")).unwrap();
    assert_eq!(tensors, WEIGHTS);
    server.requests();
    setting.fetch("org/name").unwrap();
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn without_a_network_the_cache_is_used_or_one_message_says_which_files_are_missing() {
    let server = serve(model());
    let mut setting = Setting::new(&server.url());
    setting.hub.offline = true;
    let hint = "\nhint: put config.json, model.safetensors (or pytorch_model.bin), tokenizer.json and, if it has one, \
         preprocessor_config.json of HUB/org/name/tree/v1 into a folder and give that folder; or fetch it once where \
         there is a network, and copy the cache";
    let message = setting.refusal("org/name@v1", &[&server]);
    assert_eq!(
        message,
        format!(
            "org/name@v1: no such file or folder, nor in the cache (CACHE), and HF_HUB_OFFLINE forbids to fetch it{hint}"
        )
    );
    assert!(server.requests().is_empty());

    setting.hub.offline = false;
    let dead = server.url();
    setting.hub.endpoint = dead.clone();
    drop(server);
    let message = setting
        .fetch("org/name@v1")
        .unwrap_err()
        .replace(&dead, "HUB");
    assert!(
        message.starts_with(
            "org/name@v1: no such file or folder, and it cannot be fetched from the hub: HUB/org/name/resolve/v1/config.json: "
        ) && message.ends_with(hint),
        "{message}"
    );

    let server = serve(model());
    setting.hub.endpoint = server.url();
    let snapshot = setting.fetch("org/name@v1").unwrap();
    setting.hub.endpoint = dead;
    assert_eq!(setting.fetch("org/name@v1"), Ok(snapshot.clone()));
    let ill = Server::start(|_| Reply::status(503));
    setting.hub.endpoint = ill.url();
    assert_eq!(setting.fetch("org/name@v1"), Ok(snapshot));
}

#[test]
fn files_that_python_fetched_are_used_and_the_others_are_added() {
    let server = serve(model());
    let setting = Setting::new(&server.url());
    let snapshot = setting.folder().join("snapshots").join(COMMIT);
    fs::create_dir_all(&snapshot).unwrap();
    fs::write(snapshot.join("model.safetensors"), "python's").unwrap();
    setting.fetch("org/name").unwrap();
    let got = names(&server.requests());
    let got: Vec<_> = got.iter().filter(|name| name.starts_with("GET")).collect();
    assert_eq!(got.len(), 2, "{got:?}");
    let tensors = fs::read_to_string(snapshot.join("model.safetensors")).unwrap();
    assert_eq!(tensors, "python's");
}

#[test]
fn two_at_the_same_time_fetch_each_file_once() {
    let server = serve(model());
    let setting = Setting::new(&server.url());
    std::thread::scope(|scope| {
        let fetches = [(); 4].map(|()| scope.spawn(|| setting.fetch("org/name")));
        for fetch in fetches {
            assert!(fetch.join().unwrap().is_ok());
        }
    });
    let requests = server.requests();
    let got = requests.iter().filter(|request| request.method == "GET");
    assert_eq!(got.count(), 3);
}

#[test]
fn a_server_that_drips_is_silent_or_never_ends_is_given_up() {
    let refusal = |manner: Manner, body: Vec<u8>| {
        let (server, storage) = serve_with_storage(move |_| Reply {
            status: 200,
            body: body.clone(),
            manner,
            ..Reply::default()
        });
        let refusal = Setting::new(&server.url()).refusal("org/name", &[&server, &storage]);
        drop(server);
        refusal
    };
    let hint = "hint: run the same command again: it goes on where it stopped";
    let drip = refusal(Manner::Drip, WEIGHTS.to_vec());
    assert!(
        drip.contains("the server is too slow: ") && drip.ends_with(hint),
        "{drip}"
    );
    let silent = refusal(Manner::Silent, WEIGHTS.to_vec());
    assert!(
        silent.contains(": timeout") && silent.ends_with(hint),
        "{silent}"
    );
    // More than was announced, without a length of its own.
    let endless = refusal(Manner::Endless, vec![0; 1 << 16]);
    assert!(endless.contains("wrong size: "), "{endless}");
}

#[test]
fn what_nobody_announced_is_bounded() {
    let model = model();
    let server = Server::start(move |request| {
        let mut reply = model.answer(request);
        if request.path.ends_with("/tokenizer.json") {
            (reply.manner, reply.body) = (Manner::Endless, vec![b' '; 1 << 16]);
        }
        reply
    });
    let refusal = Setting::new(&server.url()).refusal("org/name", &[&server]);
    let reason = "it sends more than 256 MiB and does not say how much will come";
    assert!(refusal.contains(reason), "{refusal}");
}
