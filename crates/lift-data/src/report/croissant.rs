//! Croissant metadata (mlcommons.org/croissant, version 1.0) of a shard folder: JSON-LD that data portals
//! and loaders read.
//!
//! It names every shard with its size and SHA-256, which is computed here (a manifest holds XXH3), and the
//! columns that are plain values and, for encoded images, the image. Invariant: the same shards give the
//! same bytes; no date and no machine is in it.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use lift_shards::layout::require_shard_dirs;
use lift_shards::manifest::{Encoding, Manifest};

/// The metadata of the splits at `root`; `name` is the data set's, addresses are relative to `root`.
pub fn croissant(root: &Path, name: &str) -> Result<Value> {
    let mut distribution = Vec::new();
    let mut record_sets = Vec::new();
    for dir in require_shard_dirs(root)? {
        let manifest = Manifest::load(&dir)?;
        let split = manifest.split.as_str();
        let below = dir.strip_prefix(root).unwrap_or(Path::new(""));
        for shard in &manifest.shards {
            let id = format!("{split}/{}", shard.file);
            let path = dir.join(&shard.file);
            distribution.push(json!({
                "@type": "cr:FileObject",
                "@id": id,
                "name": id,
                "contentUrl": below.join(&shard.file).to_string_lossy(),
                "contentSize": format!("{} B", shard.bytes),
                "encodingFormat": "application/x-parquet",
                "sha256": sha256(&path)?,
            }));
        }
        let set = format!("{split}-shards");
        distribution.push(json!({
            "@type": "cr:FileSet",
            "@id": set,
            "name": set,
            "description": format!("All shards of the {split} split."),
            "encodingFormat": "application/x-parquet",
            "includes": below.join("*.parquet").to_string_lossy(),
        }));
        record_sets.push(record_set(&manifest, &set));
        record_sets.push(classes(&manifest));
    }
    // The classes are the same in every split; one set says them.
    let mut seen = false;
    record_sets.retain(|set| set["@id"] != "classes" || !std::mem::replace(&mut seen, true));
    Ok(json!({
        "@context": context(),
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": name,
        "description": format!("{name}: images with class labels, as Parquet shards built by lift-data."),
        "distribution": distribution,
        "recordSet": record_sets,
    }))
}

fn record_set(manifest: &Manifest, set: &str) -> Value {
    let split = manifest.split.as_str();
    let field = |name: &str, data_type: &str, description: &str| {
        json!({
            "@type": "cr:Field",
            "@id": format!("{split}/{name}"),
            "name": name,
            "description": description,
            "dataType": data_type,
            "source": {"fileSet": {"@id": set}, "extract": {"column": name}},
        })
    };
    let mut label = field("label", "sc:Integer", "The class, from 0.");
    label["references"] = json!({"field": {"@id": "classes/label"}});
    let mut fields = vec![
        field(
            "id",
            "sc:Integer",
            "The image's position in the list the split was built from.",
        ),
        field("path", "sc:Text", "Where the image came from."),
        label,
        field("width", "sc:Integer", "Pixels a row."),
        field("height", "sc:Integer", "Pixel rows."),
    ];
    if manifest.encoding != Encoding::Rgb8 {
        let mut image = field("image", "sc:ImageObject", "The image file.");
        image["source"]["transform"] = json!({"jsonPath": "bytes"});
        fields.push(image);
    }
    json!({
        "@type": "cr:RecordSet",
        "@id": split,
        "name": split,
        "description": format!("The {} images of the {split} split.", manifest.rows),
        "key": {"@id": format!("{split}/id")},
        "field": fields,
    })
}

/// Labels and names, inline.
fn classes(manifest: &Manifest) -> Value {
    let data: Vec<Value> = manifest
        .class_names
        .as_slice()
        .iter()
        .enumerate()
        .map(|(label, name)| json!({"classes/label": label, "classes/name": name}))
        .collect();
    let field = |name: &str, data_type: &str| {
        json!({
            "@type": "cr:Field",
            "@id": format!("classes/{name}"),
            "name": name,
            "dataType": data_type,
        })
    };
    json!({
        "@type": "cr:RecordSet",
        "@id": "classes",
        "name": "classes",
        "description": "The classes by label.",
        "dataType": "sc:Enumeration",
        "key": {"@id": "classes/label"},
        "field": [field("label", "sc:Integer"), field("name", "sc:Text")],
        "data": data,
    })
}

fn sha256(path: &Path) -> Result<String> {
    let mut file = File::open(path).map_err(Error::read(path))?;
    let mut sha = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer).map_err(Error::read(path))? {
            0 => break,
            read => sha.update(&buffer[..read]),
        }
    }
    Ok(sha
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

/// The context that the specification asks for, word for word.
fn context() -> Value {
    json!({
        "@language": "en",
        "@vocab": "https://schema.org/",
        "citeAs": "cr:citeAs",
        "column": "cr:column",
        "conformsTo": "dct:conformsTo",
        "cr": "http://mlcommons.org/croissant/",
        "rai": "http://mlcommons.org/croissant/RAI/",
        "data": {"@id": "cr:data", "@type": "@json"},
        "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
        "dct": "http://purl.org/dc/terms/",
        "equivalentProperty": "cr:equivalentProperty",
        "examples": {"@id": "cr:examples", "@type": "@json"},
        "extract": "cr:extract",
        "field": "cr:field",
        "fileProperty": "cr:fileProperty",
        "fileObject": "cr:fileObject",
        "fileSet": "cr:fileSet",
        "format": "cr:format",
        "includes": "cr:includes",
        "isLiveDataset": "cr:isLiveDataset",
        "jsonPath": "cr:jsonPath",
        "key": "cr:key",
        "md5": "cr:md5",
        "parentField": "cr:parentField",
        "path": "cr:path",
        "recordSet": "cr:recordSet",
        "references": "cr:references",
        "regex": "cr:regex",
        "repeated": "cr:repeated",
        "replace": "cr:replace",
        "samplingRate": "cr:samplingRate",
        "sc": "https://schema.org/",
        "separator": "cr:separator",
        "source": "cr:source",
        "subField": "cr:subField",
        "transform": "cr:transform"
    })
}
