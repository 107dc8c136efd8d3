//! `lift-data datasets`: what is known by name, as a table or as JSON.

use clap::Args;
use serde::Serialize;

use lift_data::dataset::{self, DatasetSpec, Expected, SourceKind};
use lift_page::terminal::aligned;
use lift_shards::{BandEdges, Split};

use super::{CliError, grouped, print, print_json};

/// `lift-data datasets`
#[derive(Debug, Args)]
#[command(after_long_help = "\
Counts are those of a right build; for CIFAR at its first imbalance ratio, 100. Bands follow the \
training counts: many > 100, medium 20 to 100, few < 20 images a class. docs/datasets.md says how each \
dataset's folder must look.")]
pub struct DatasetsArgs {
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    /// Print the JSON schema of a dataset's file (--dataset-file), for editors
    #[arg(long, conflicts_with = "json")]
    schema: bool,
}

/// What the JSON says of a dataset.
#[derive(Serialize)]
struct Entry {
    name: String,
    about: String,
    get: Option<String>,
    source: SourceKind,
    classes: Option<usize>,
    bands: BandEdges,
    expected: Vec<Expected>,
}

/// Lists the datasets.
pub fn run(args: &DatasetsArgs) -> Result<(), CliError> {
    if args.schema {
        return print(dataset::SCHEMA);
    }
    let specs: Vec<_> = dataset::names()
        .map(DatasetSpec::find)
        .collect::<Result<_, _>>()?;
    if args.json {
        let entries: Vec<_> = specs.into_iter().map(entry).collect();
        return print_json(&serde_json::json!({ "datasets": entries }));
    }
    print(&table(&specs))
}

fn entry(spec: DatasetSpec) -> Entry {
    Entry {
        name: spec.name,
        about: spec.about,
        get: spec.get,
        source: spec.source,
        classes: spec.num_classes,
        bands: spec.bands,
        expected: spec.expected,
    }
}

fn table(specs: &[DatasetSpec]) -> String {
    let header = [
        "dataset", "classes", "train", "largest", "smallest", "many", "medium", "few", "test",
    ];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    rows.extend(specs.iter().map(|spec| row(spec).to_vec()));
    let get = |spec: &DatasetSpec| spec.get.clone().unwrap_or_else(|| "-".to_owned());
    let gets = specs.iter().map(|spec| vec![spec.name.clone(), get(spec)]);
    let gets: Vec<_> = gets.collect();
    aligned(&rows, 1) + "\nwhat to download:\n" + &aligned(&gets, 2)
}

fn row(spec: &DatasetSpec) -> [String; 9] {
    let of = |split| {
        spec.expected
            .iter()
            .find(|expected| expected.split == split)
    };
    let (train, test) = (of(Split::Train), of(Split::Test));
    let number = |number: Option<u64>| number.map_or("-".to_owned(), grouped);
    let band = |i: usize| {
        number(
            train
                .and_then(|train| train.band_classes)
                .map(|bands| bands[i]),
        )
    };
    [
        spec.name.clone(),
        number(spec.num_classes.map(|n| n as u64)),
        number(train.map(|train| train.images)),
        number(train.and_then(|train| train.largest)),
        number(train.and_then(|train| train.smallest)),
        band(0),
        band(1),
        band(2),
        number(test.map(|test| test.images)),
    ]
}
