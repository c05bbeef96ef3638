//! A strict reader of Prometheus's text format, version 0.0.4.

use std::collections::{BTreeMap, BTreeSet};

/// A page of metrics that keeps to the format.
#[derive(Debug, Default)]
pub struct Exposition {
    /// The kind of each family.
    kinds: BTreeMap<String, String>,
    samples: BTreeMap<(String, Labels), f64>,
}

type Labels = BTreeMap<String, String>;

impl Exposition {
    /// Reads a page.
    ///
    /// # Errors
    ///
    /// The first line that a scraper would refuse, or that breaks a convention: every family has
    /// its help and its type before its samples and is there once, no series is there twice,
    /// counters end with `_total`, histograms are complete and do not decrease.
    pub fn parse(page: &str) -> Result<Self, String> {
        if !page.ends_with('\n') {
            return Err("the last line has no end".into());
        }
        let mut all = Self::default();
        let mut helped = BTreeSet::new();
        let mut current = String::new();
        for line in page.lines() {
            let wrong = |why: &str| format!("{why}: {line:?}");
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, text) = rest.split_once(' ').ok_or_else(|| wrong("no help"))?;
                if text.is_empty() || !helped.insert(name.to_owned()) {
                    return Err(wrong("help is there once"));
                }
                name.clone_into(&mut current);
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').ok_or_else(|| wrong("no type"))?;
                if name != current || !["counter", "gauge", "histogram"].contains(&kind) {
                    return Err(wrong("a type belongs behind its help"));
                }
                if (kind == "counter") != name.ends_with("_total") {
                    return Err(wrong("counters and nothing else end with _total"));
                }
                if all.kinds.insert(name.to_owned(), kind.to_owned()).is_some() {
                    return Err(wrong("a family is there once"));
                }
            } else {
                let (name, labels, value) = sample(line).ok_or_else(|| wrong("no sample"))?;
                let kind = all.kinds.get(&current).ok_or_else(|| wrong("no family"))?;
                let is_of_family = match name.strip_prefix(current.as_str()) {
                    Some("") => kind != "histogram",
                    Some("_bucket" | "_sum" | "_count") => kind == "histogram",
                    _ => false,
                };
                if !is_of_family || value < 0.0 || !value.is_finite() {
                    return Err(wrong("not a value of the family above"));
                }
                if all.samples.insert((name, labels), value).is_some() {
                    return Err(wrong("a series is there twice"));
                }
            }
        }
        all.check_histograms()?;
        Ok(all)
    }

    fn check_histograms(&self) -> Result<(), String> {
        let mut rows: BTreeMap<(String, Labels), Vec<(f64, f64)>> = BTreeMap::new();
        for ((name, labels), value) in &self.samples {
            let Some(family) = name.strip_suffix("_bucket") else { continue };
            let mut labels = labels.clone();
            let bound = labels.remove("le").ok_or_else(|| format!("{name} has no le"))?;
            let bound = match bound.as_str() {
                "+Inf" => f64::INFINITY,
                bound => bound.parse().map_err(|_| format!("{name}: le {bound:?}"))?,
            };
            rows.entry((family.to_owned(), labels)).or_default().push((bound, *value));
        }
        for ((family, labels), mut row) in rows {
            row.sort_by(|left, right| left.0.total_cmp(&right.0));
            let count = self.samples.get(&(format!("{family}_count"), labels.clone()));
            let has_sum = self.samples.contains_key(&(format!("{family}_sum"), labels));
            let last = row.last().filter(|(bound, _)| bound.is_infinite()).map(|(_, value)| value);
            if !row.is_sorted_by(|left, right| left.1 <= right.1) || !has_sum || last != count {
                return Err(format!("{family} is no histogram: {row:?}, count {count:?}"));
            }
        }
        Ok(())
    }

    /// The value of a series.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let labels = labels.iter().map(|&(label, text)| (label.to_owned(), text.to_owned()));
        self.samples.get(&(name.to_owned(), labels.collect())).copied()
    }

    /// The kind of a family.
    pub fn kind(&self, name: &str) -> Option<&str> {
        self.kinds.get(name).map(String::as_str)
    }

    /// The names of all families.
    pub fn families(&self) -> impl Iterator<Item = &str> {
        self.kinds.keys().map(String::as_str)
    }
}

/// Name, labels and value of a line.
fn sample(line: &str) -> Option<(String, Labels, f64)> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    if !is_name(name) {
        return None;
    }
    let mut labels = Labels::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, text) = rest.split_once("=\"")?;
            let (text, after) = quoted(text)?;
            if !is_name(label) || labels.insert(label.to_owned(), text).is_some() {
                return None;
            }
            match after.strip_prefix(',') {
                Some(after) => rest = after,
                None => {
                    rest = after.strip_prefix('}')?;
                    break;
                }
            }
        }
    }
    let value = rest.strip_prefix(' ')?;
    let is_plain = value.bytes().all(|byte| byte.is_ascii_digit() || b".e-".contains(&byte));
    Some((name.to_owned(), labels, value.parse().ok().filter(|_| is_plain)?))
}

/// The text up to the closing quote, and what is behind that.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((place, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[place + 1..])),
            '\\' => value.push(match characters.next()?.1 {
                'n' => '\n',
                escaped @ ('\\' | '"') => escaped,
                _ => return None,
            }),
            _ => value.push(character),
        }
    }
    None
}

fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_keeps_to_the_format_is_read() {
        let page = "# HELP a_total of a\n# TYPE a_total counter\na_total{x=\"\\\"\\\\\\n\",y=\"\"} 3\n\
                    # HELP b of b\n# TYPE b histogram\nb_bucket{le=\"0.5\"} 1\n\
                    b_bucket{le=\"+Inf\"} 2\nb_sum 1.5\nb_count 2\n";
        let read = Exposition::parse(page).unwrap();
        assert_eq!(read.value("a_total", &[("x", "\"\\\n"), ("y", "")]), Some(3.0));
        assert_eq!(read.value("a_total", &[]), None);
        assert_eq!(read.kind("b"), Some("histogram"));
    }

    #[test]
    fn what_a_scraper_refuses_is_refused() {
        let head = "# HELP a of a\n# TYPE a gauge\n";
        for wrong in [
            "a 1\na 2\n",
            "a{x=\"1\"} 1\na{x=\"1\"} 1\n",
            "a 1",
            "a one\n",
            "a  1\n",
            "a{x=1} 1\n",
            "a{x=\"1} 1\n",
            "a{x=\"\\t\"} 1\n",
            "b 1\n",
            "a -1\n",
            "a NaN\n",
            "a_count 1\n",
            "# TYPE a gauge\n",
            "# HELP b of b\n# TYPE b counter\n",
            "# HELP b_total of b\n# TYPE b_total gauge\n",
            "# HELP b of b\n# TYPE b histogram\nb_bucket{le=\"+Inf\"} 1\nb_sum 1\nb_count 2\n",
            "# HELP b of b\n# TYPE b histogram\nb_bucket{le=\"1\"} 3\nb_bucket{le=\"+Inf\"} 2\n\
             b_sum 1\nb_count 2\n",
        ] {
            let page = format!("{head}{wrong}");
            assert!(Exposition::parse(&page).is_err(), "{page}");
        }
        Exposition::parse(&format!("{head}a 1\n")).unwrap();
    }
}
