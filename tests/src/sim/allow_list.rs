//! Who may connect, as OTP says it of `net_kernel:allow/1`: what the policy of a life and the model
//! of OTP's node table go by. That of Krarup has its own, which is compared with it.

#[derive(Debug, Default)]
pub(super) struct AllowList(Vec<String>);

impl AllowList {
    pub(super) fn add(&mut self, more: impl IntoIterator<Item = String>) {
        for entry in more {
            if !self.0.contains(&entry) {
                self.0.push(entry);
            }
        }
    }

    /// In the order in which it was said.
    pub(super) fn names(&self) -> &[String] {
        &self.0
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Whether a new attempt may go to a node: OTP looks for exactly its name.
    pub(super) fn may_call(&self, node: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|entry| entry == node)
    }

    /// Whether a node may come: OTP looks for its name, its host, or its name with no host.
    pub(super) fn may_come(&self, node: &str) -> bool {
        let (name, host) = node.split_once('@').expect("a full name");
        let forms = [node.to_owned(), host.to_owned(), format!("{name}@")];
        self.0.is_empty() || self.0.iter().any(|entry| forms.contains(entry))
    }
}
