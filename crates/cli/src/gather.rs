//! Where lists come from: an npm package, a folder with known files, any file or URL that the user names.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use surety_security::lists::{Date, Format, Report, Semantics, Subject};
use surety_security::{Dataset, Source, SourceSpec};

use crate::output::Failure;

/// The package with the phishing list, at the version whose algorithm the service follows bit for bit.
const PACKAGE: &str = "eth-phishing-detect@1.2.0";
/// Contracts of the exchange that tokens are tried on.
pub(crate) const EXCHANGE: [&str; 2] = ["@uniswap/v2-core@1.0.1", "@uniswap/v2-periphery@1.1.0-beta.0"];
/// The files of them that are read.
pub(crate) const EXCHANGE_FILES: [&str; 2] =
    ["@uniswap/v2-core/build/UniswapV2Factory.json", "@uniswap/v2-periphery/build/UniswapV2Router02.json"];
/// What is ever installed; all at once, because an installation drops what it does not name.
const PACKAGES: [&str; 3] = [PACKAGE, EXCHANGE[0], EXCHANGE[1]];
/// Where the package is installed unless it is there already.
const NPM_FOLDER: &str = ".surety/npm";
/// Where other lists are looked for unless a folder is named.
const LISTS_FOLDER: &str = "../shared/data/lists";
/// Most bytes of a list.
const MAX_BYTES: u64 = 64 << 20;

/// Which lists to use.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Sources {
    /// A folder with polkadot-deny.txt, ofac-eth.txt, ofac-other-evm.csv, forta-eth.csv; those that are there are used
    /// [default: ../shared/data/lists where present].
    #[arg(long, env = "SURETY_LISTS")]
    lists: Option<PathBuf>,
    /// Leave out the phishing list of the npm package eth-phishing-detect.
    #[arg(long)]
    no_npm: bool,
    /// Another list: `FILE-or-URL,names|addresses,deny|allow|label,DATE[,LABEL]`. May be given several times.
    #[arg(long = "source", value_name = "LIST")]
    more: Vec<String>,
}

/// Lists, read and merged.
pub(crate) struct Gathered {
    /// About names.
    pub names: Option<Dataset>,
    /// About addresses.
    pub addresses: Option<Dataset>,
    /// What was read, and what was changed or dropped on the way.
    pub reports: Vec<(String, Report)>,
}

impl Sources {
    /// Reads everything. What is not there is left out, and answered as unknown.
    pub(crate) async fn gather(&self) -> Result<Gathered> {
        let mut read = Vec::new();
        if !self.no_npm {
            let path = npm_list()?;
            read.extend(read_file(&SourceSpec::eth_phishing_detect()?, &path)?);
        }
        for (spec, path) in self.known()? {
            read.extend(read_file(&spec, &path)?);
        }
        for text in &self.more {
            let (spec, place) = parse(text)?;
            read.extend(Source::read(&spec, &fetch(&place).await?).with_context(|| format!("the list {place}"))?);
        }
        if read.is_empty() {
            bail!(Failure::environment("no list at all: name some with --lists FOLDER or --source LIST"));
        }
        let reports = read.iter().map(|source| (source.info.name.clone(), source.report.clone())).collect();
        let (names, addresses): (Vec<Source>, Vec<Source>) = read.into_iter().partition(is_about_names);
        Ok(Gathered { names: merge("names", names)?, addresses: merge("addresses", addresses)?, reports })
    }

    /// The files of the folder that are there.
    fn known(&self) -> Result<Vec<(SourceSpec, PathBuf)>> {
        let folder = match &self.lists {
            Some(folder) if folder.is_dir() => folder.clone(),
            Some(folder) => bail!(Failure::environment(format!("{} is not a folder", folder.display()))),
            None => PathBuf::from(LISTS_FOLDER),
        };
        let files = [
            ("polkadot-deny.txt", SourceSpec::polkadot_deny()?),
            ("ofac-eth.txt", SourceSpec::ofac_eth()?),
            ("ofac-other-evm.csv", SourceSpec::ofac_other_evm()?),
            ("forta-eth.csv", SourceSpec::forta_eth()?),
        ];
        let present =
            files.into_iter().map(|(name, spec)| (spec, folder.join(name))).filter(|(_, path)| path.is_file());
        Ok(present.collect())
    }
}

fn is_about_names(source: &Source) -> bool {
    let subjects = [Semantics::Deny, Semantics::Allow, Semantics::Label, Semantics::Fuzzy];
    let kinds = subjects.map(|semantics| surety_security::lists::kind(Subject::Domain, semantics));
    source.entries.first().is_none_or(|(key, _)| kinds.contains(&key.kind()))
}

fn merge(name: &str, sources: Vec<Source>) -> Result<Option<Dataset>> {
    if sources.is_empty() {
        return Ok(None);
    }
    let version: Vec<String> = sources.iter().map(|source| source.info.as_of.to_string()).collect();
    let newest = version.into_iter().max().unwrap_or_default();
    Ok(Some(Dataset::merge(name, &newest, sources)?))
}

fn read_file(spec: &SourceSpec, path: &Path) -> Result<Vec<Source>> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read the list {}", path.display()))?;
    Source::read(spec, &bytes).with_context(|| format!("the list {}", path.display()))
}

/// `FILE-or-URL,names|addresses,deny|allow|label,DATE[,LABEL]`
fn parse(text: &str) -> Result<(SourceSpec, String)> {
    let parts: Vec<&str> = text.split(',').collect();
    let (place, subject, semantics, date, label) = match parts.as_slice() {
        [place, subject, semantics, date] => (*place, *subject, *semantics, *date, ""),
        [place, subject, semantics, date, label] => (*place, *subject, *semantics, *date, *label),
        _ => bail!(Failure::environment(format!("'{text}' is not FILE-or-URL,names|addresses,deny|allow|label,DATE"))),
    };
    let subject = match subject {
        "names" => Subject::Domain,
        "addresses" => Subject::Address,
        other => bail!(Failure::environment(format!("a list is about names or addresses, not '{other}'"))),
    };
    let semantics = match semantics {
        "deny" => Semantics::Deny,
        "allow" => Semantics::Allow,
        "label" => Semantics::Label,
        other => bail!(Failure::environment(format!("being listed means deny, allow or label, not '{other}'"))),
    };
    let as_of: Date = date.parse().map_err(|error| Failure::environment(format!("{error}")))?;
    let format = if place.ends_with(".csv") { Format::Csv } else { Format::Lines };
    let name = Path::new(place).file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let spec = SourceSpec {
        name,
        version: date.to_owned(),
        as_of,
        licence: "not-stated".to_owned(),
        format,
        subject,
        semantics,
        label: label.to_owned(),
    };
    Ok((spec, place.to_owned()))
}

async fn fetch(place: &str) -> Result<Vec<u8>> {
    if !place.starts_with("http://") && !place.starts_with("https://") {
        return std::fs::read(place).with_context(|| format!("cannot read the list {place}"));
    }
    let client = reqwest::Client::builder().timeout(std::time::Duration::from_secs(60)).build()?;
    let mut response = client.get(place).send().await?.error_for_status()?;
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() as u64 > MAX_BYTES {
            bail!("the list {place} is larger than {MAX_BYTES} bytes");
        }
    }
    Ok(bytes)
}

/// The package's list; installs the package with npm if it is not there.
fn npm_list() -> Result<PathBuf> {
    let hint = "or go without that list: --no-npm with --lists or --source";
    Ok(npm(&[PACKAGE], &[LIST_IN_PACKAGE], hint)?.join(LIST_IN_PACKAGE))
}

/// The node_modules folder in which all `files` are; installs `packages` with npm if there is none yet.
pub(crate) fn npm(packages: &[&str], files: &[&str], otherwise: &str) -> Result<PathBuf> {
    let places = ["tests/js", NPM_FOLDER].map(|folder| Path::new(folder).join("node_modules"));
    let has_all = |place: &Path| files.iter().all(|file| place.join(file).is_file());
    if let Some(place) = places.iter().find(|place| has_all(place)) {
        return Ok(place.clone());
    }
    std::fs::create_dir_all(NPM_FOLDER).with_context(|| format!("cannot create {NPM_FOLDER}"))?;
    let quiet = ["--no-save", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"];
    let status = Command::new("npm")
        .args(["install", "--prefix", NPM_FOLDER])
        .args(quiet)
        .args(PACKAGES)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .map_err(|error| {
            let needed = packages.join(", ");
            let hint = format!("{needed} come from it: install Node 20 or newer, {otherwise}");
            Failure::environment(format!("npm cannot be started ({error}), and {hint}"))
        })?;
    let [_, place] = places;
    if !status.success() || !has_all(&place) {
        bail!(Failure::environment(format!(
            "npm could not install {}; is the registry reachable?",
            packages.join(", ")
        )));
    }
    Ok(place)
}

const LIST_IN_PACKAGE: &str = "eth-phishing-detect/src/config.json";
