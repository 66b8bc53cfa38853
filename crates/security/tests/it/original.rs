//! The compatible mode against the original in JavaScript, on every entry of its lists, on mutations and on noise.

use serde_json::Value;
use surety_security::phishing::compat::{Configs, Detector};

use crate::js;

/// A small generator of our own, so that every run asks the same names.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides as u64) as usize
    }

    fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.roll(from.len())]
    }
}

const ODD: &[&str] = &[
    "",
    ".",
    "..",
    "...",
    "www.",
    "www",
    "com",
    ".com",
    "com.",
    "a",
    "a.",
    "A.B",
    "metamask.io",
    "metamask.io.",
    "metamask.io..",
    "MetaMask.io",
    "METAMASK.IO",
    "metamask.io:443",
    " metamask.io",
    "metamask.io ",
    "https://metamask.io",
    "https://metamask.io/x",
    "mywww.etherwallet.com",
    "www.www.metamask.io",
    "wwwmetamask.io",
    "мetamask.io",
    "metamask。io",
    "metamask．io",
    "мyethеrwallet.com",
    "mуethеrwallet.com",
    "xn--metamsk-eza.io",
    "😀.io",
    "metam😀sk.io",
    "metama\u{0}k.io",
    "metamask\u{301}.io",
    "127.0.0.1",
    "[::1]",
    "localhost",
    "MetaMask",
    "bancor",
    "metamask",
    "metamaskio",
    ".metamask.io",
    "a..metamask.io",
    "metamask..io",
    "\"metamask\".io",
    "\\metamask.io",
    "metamask.io\n",
    "\u{2028}",
    "ß.com",
    "İ.com",
    "％.io",
];

/// One or several small changes to a name.
fn mutated(name: &str, dice: &mut Dice) -> String {
    let mut characters: Vec<char> = name.chars().collect();
    for _ in 0..=dice.roll(3) {
        let at = dice.roll(characters.len() + 1);
        let letter = *dice.pick(&[&'a', &'e', &'o', &'z', &'0', &'1', &'-', &'.', &'A', &'é', &'о', &'😀', &'w']);
        match dice.roll(5) {
            0 if at < characters.len() => drop(characters.remove(at)),
            1 if at < characters.len() => characters[at] = letter,
            2 if at + 1 < characters.len() => characters.swap(at, at + 1),
            3 if at < characters.len() => characters[at] = characters[at].to_ascii_uppercase(),
            _ => characters.insert(at, letter),
        }
    }
    characters.into_iter().collect()
}

/// Every name that the lists hold, in variations, and names that they do not hold.
fn names(configs: &Configs) -> Vec<String> {
    let config = &configs.list[0];
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut names: Vec<String> = ODD.iter().map(|&name| name.to_owned()).collect();
    for listed in config.allow.iter().chain(&config.block).chain(&config.fuzzy) {
        names.push(listed.clone());
        match dice.roll(6) {
            0 => names.push(format!("www.{listed}")),
            1 => names.push(format!("{listed}.")),
            2 => names.push(format!("x{listed}")),
            3 => names.push(listed.to_uppercase()),
            4 => names.push(mutated(listed, &mut dice)),
            _ => names.push(format!("{listed}.com")),
        }
    }
    for target in &config.fuzzy {
        for _ in 0..300 {
            names.push(mutated(target, &mut dice));
        }
        for end in ["com", "github.io", "xyz", ""] {
            names.push(format!("{}.{end}", target.split('.').next().unwrap()));
        }
    }
    for _ in 0..4000 {
        let length = 1 + dice.roll(24);
        let letters: Vec<&char> =
            "abcdefghijklmnopqrstuvwxyz0123456789-..éоß中😀".chars().map(|c| &*Box::leak(Box::new(c))).collect();
        names.push((0..length).map(|_| *dice.pick(&letters)).collect());
    }
    names
}

/// Asks the original, in one run, what it says of `names`.
fn original(arguments: &[&str], names: &[&str]) -> Vec<Value> {
    let input: String = names.iter().map(|name| serde_json::to_string(name).unwrap() + "\n").collect();
    js::phishing(arguments, &input).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn mismatches(detector: &Detector, names: &[&str], expected: &[Value]) -> Vec<String> {
    assert_eq!(names.len(), expected.len());
    let ours = names.iter().map(|name| serde_json::to_value(detector.check(name)).unwrap());
    let pairs = names.iter().zip(ours).zip(expected);
    pairs
        .filter(|((_, ours), theirs)| ours != *theirs)
        .map(|((name, ours), theirs)| format!("{name:?}: {ours} is not {theirs}"))
        .collect()
}

#[test]
fn the_compatible_mode_says_what_the_original_says() {
    let Some(package) = js::package("eth-phishing-detect") else { return };
    let configs = Configs::from_json(&std::fs::read(package.join("src/config.json")).unwrap()).unwrap();
    let names = names(&configs);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    assert!(names.len() >= 24_000, "only {} names", names.len());
    let wrong = mismatches(&Detector::new(configs), &names, &original(&["check"], &names));
    assert!(wrong.is_empty(), "{} of {} names differ: {:#?}", wrong.len(), names.len(), &wrong[..wrong.len().min(20)]);
    println!("{} names, 0 mismatches", names.len());
}

#[test]
fn the_published_cases_hold_in_both_forms() {
    if js::package("eth-phishing-detect").is_none() {
        return;
    }
    let published: Value = serde_json::from_str(&js::phishing(&["published"], "")).unwrap();
    let detectors: Vec<Detector> = published["options"]
        .as_array()
        .unwrap()
        .iter()
        .map(|options| Detector::new(Configs::from_json(options.to_string().as_bytes()).unwrap()))
        .collect();
    let cases = published["cases"].as_array().unwrap();
    assert!(cases.len() > 300 && detectors.len() > 20);
    for case in cases {
        let detector = &detectors[case["options"].as_u64().unwrap() as usize];
        let host = case["host"].as_str().unwrap();
        assert_eq!(serde_json::to_value(detector.check(host)).unwrap(), case["result"], "{host}");
    }
}

#[test]
fn several_configurations_say_what_the_original_says() {
    if js::package("eth-phishing-detect").is_none() {
        return;
    }
    let config = r#"[
        {"name": "one", "version": 1, "allowlist": ["a.b", "metamask.io"], "blocklist": ["b", "c.d", "x.a.b"]},
        {"name": "two", "version": "2", "allowlist": ["c.d"], "blocklist": ["e.f", ""], "fuzzylist": ["uniswap.org", "metamask.io"], "tolerance": 2},
        {"name": "three", "version": 3.5, "blocklist": ["unsiwap.org"], "fuzzylist": ["uniswop.org", "абвгд.рф"]}]"#;
    let file = std::env::temp_dir().join(format!("surety-configs-{}.json", std::process::id()));
    std::fs::write(&file, config).unwrap();
    let mut dice = Dice(7);
    let mut names: Vec<String> = ODD.iter().map(|&name| name.to_owned()).collect();
    for name in
        ["a.b", "b", "c.d", "x.a.b", "e.f", "uniswap.org", "uniswop.org", "unsiwap.org", "абвгд.рф", "metamask.io"]
    {
        names.push(name.to_owned());
        names.extend((0..200).map(|_| mutated(name, &mut dice)));
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let expected = original(&["check", file.to_str().unwrap()], &names);
    std::fs::remove_file(&file).unwrap();
    let wrong = mismatches(&Detector::new(Configs::from_json(config.as_bytes()).unwrap()), &names, &expected);
    assert!(wrong.is_empty(), "{:#?}", &wrong[..wrong.len().min(20)]);
}
