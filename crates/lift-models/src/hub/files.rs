//! The files of a model: which ones are wanted, brought into the cache one by one.

use std::{fs, path::Path};

use super::{
    Hub,
    cache::{ModelCache, WEIGHTS, make_parent},
    id::{ModelId, is_commit},
    request::{Answer, Client, Remote},
    transfer::wrong_hash,
};
use crate::{
    error::{Error, Result},
    parts::{Index, is_index},
};

/// What lies beside the tensors and need not be there.
const FETCHED: [&str; 3] = ["config.json", "tokenizer.json", "preprocessor_config.json"];

/// All that a model may have beside its tensors and that is read.
pub const BESIDE: [&str; 4] = [FETCHED[0], FETCHED[1], FETCHED[2], OPEN_CLIP_CONFIG];

/// open_clip's sizes, which are of use to none but the files after `model.safetensors`.
const OPEN_CLIP_CONFIG: &str = "open_clip_config.json";

/// Brings the model into the cache; returns its commit, or the reason why the network does not answer.
pub fn fetch(
    hub: &Hub,
    id: &ModelId,
    cache: &ModelCache,
) -> Result<std::result::Result<String, String>> {
    let client = Client::new(hub, id);
    let commit = if is_commit(&id.revision) {
        id.revision.clone()
    } else {
        match commit_of(id, &client)? {
            Ok(commit) => commit,
            Err(reason) => return Ok(Err(reason)),
        }
    };
    let files = Files {
        id,
        cache,
        client,
        commit,
    };
    if let Err(reason) = files.obtain_all()? {
        return Ok(Err(reason));
    }
    // Last, so that no revision in the cache is a commit that is not whole.
    cache.remember(&files.commit)?;
    Ok(Ok(files.commit))
}

/// The commit that the revision is now; the reason where the network does not answer.
fn commit_of(id: &ModelId, client: &Client) -> Result<std::result::Result<String, String>> {
    // The hub says the commit with any file of it, and even when it says that there is no such file.
    for file in ["config.json"].into_iter().chain(WEIGHTS) {
        match client.ask(&id.revision, file)? {
            Answer::Found { commit, .. }
            | Answer::Absent {
                commit: Some(commit),
            } => {
                return Ok(Ok(commit));
            }
            Answer::Absent { commit: None } => {}
            Answer::Unreachable(reason) => return Ok(Err(reason)),
        }
    }
    Err(client.not_found())
}

/// The files of one commit, on their way into the cache.
struct Files<'a> {
    id: &'a ModelId,
    cache: &'a ModelCache,
    client: Client<'a>,
    commit: String,
}

enum Obtained {
    Here,
    Absent,
    Unreachable(String),
}

impl Files<'_> {
    /// Brings all that is wanted into the cache; gives the reason where the network does not answer.
    fn obtain_all(&self) -> Result<std::result::Result<(), String>> {
        // Tensors come last: what is wrong with a model shows before they have taken their time.
        for file in FETCHED {
            if let Obtained::Unreachable(reason) = self.obtain(file)? {
                return Ok(Err(reason));
            }
        }
        let [usual, others @ ..] = WEIGHTS;
        for file in [usual, OPEN_CLIP_CONFIG].into_iter().chain(others) {
            match self.obtain(file)? {
                Obtained::Here if file == OPEN_CLIP_CONFIG => {}
                Obtained::Here if is_index(Path::new(file)) => return self.obtain_parts(file),
                Obtained::Here => return Ok(Ok(())),
                Obtained::Absent => {}
                Obtained::Unreachable(reason) => return Ok(Err(reason)),
            }
        }
        let reason = format!("it has none of {}", WEIGHTS.join(", "));
        let hint = "is it a CLIP or a ViT of timm?";
        Err(Error::hub(self.id, reason, hint))
    }

    /// Brings the files of tensors that an index names into the cache.
    fn obtain_parts(&self, file: &str) -> Result<std::result::Result<(), String>> {
        let index = Index::read(&self.cache.snapshot(&self.commit).join(file))?;
        for part in index.files() {
            match self.obtain(part)? {
                Obtained::Here => {}
                Obtained::Absent => {
                    let reason = format!("{file} names {part}, which is not there");
                    let hint =
                        "the model is not whole; take another revision, or tell its publisher";
                    return Err(Error::hub(self.id, reason, hint));
                }
                Obtained::Unreachable(reason) => return Ok(Err(reason)),
            }
        }
        Ok(Ok(()))
    }

    /// Brings a file into the cache, if the commit has it; asks nothing where that is known.
    fn obtain(&self, file: &str) -> Result<Obtained> {
        if self.cache.has(&self.commit, file) {
            return Ok(Obtained::Here);
        }
        if self.cache.is_absent(&self.commit, file) {
            return Ok(Obtained::Absent);
        }
        match self.client.ask(&self.commit, file)? {
            Answer::Found { remote, .. } => {
                self.blob(file, &remote)?;
                self.cache.link(&self.commit, file, &remote.etag)?;
                Ok(Obtained::Here)
            }
            Answer::Absent { commit } => {
                // A server that does not know the commit may not know the file either.
                if commit.as_ref() == Some(&self.commit) {
                    self.cache.remember_absence(&self.commit, file)?;
                }
                Ok(Obtained::Absent)
            }
            Answer::Unreachable(reason) => Ok(Obtained::Unreachable(reason)),
        }
    }

    /// Brings the bytes of a file under the name of their hash, whole and checked.
    fn blob(&self, file: &str, remote: &Remote) -> Result<()> {
        let blob = self.cache.blob(&remote.etag);
        if blob.is_file() {
            return Ok(());
        }
        make_parent(&blob)?;
        let _lock = self.cache.lock(&remote.etag)?;
        // Another process may have brought it while this one waited.
        if blob.is_file() {
            return Ok(());
        }
        let part = self.cache.blob(&format!("{}.incomplete", remote.etag));
        let mut is_resumed = part.is_file();
        loop {
            self.client.download(&self.commit, file, remote, &part)?;
            let Some(found) = wrong_hash(&part, remote)? else {
                return fs::rename(&part, &blob).map_err(Error::io(blob));
            };
            fs::remove_file(&part).map_err(Error::io(&part))?;
            if !is_resumed {
                let reason = format!(
                    "{file} came damaged: its hash is {found}, the hub's {}",
                    remote.etag
                );
                let hint = "run the same command again; if it happens again, the server or a proxy changes files";
                return Err(Error::hub(self.id, reason, hint));
            }
            // What an earlier run left may have been the damaged part.
            is_resumed = false;
        }
    }
}
