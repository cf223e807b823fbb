//! How large an operation is once its fragments stand where they are spread.
//!
//! Each fragment is measured once, so that measuring takes no longer than reading, whatever the
//! document means.

use std::collections::{HashMap, HashSet};

use async_graphql::Name;
use async_graphql::parser::types::{ExecutableDocument, Selection, SelectionSet};

use super::{
    Limit, MAX_ALIASES, MAX_DEPTH, MAX_DIRECTIVES, MAX_DIRECTIVES_AT_ONCE, MAX_FIELDS, MAX_INTROSPECTION_DEPTH,
    MAX_ROOT_FIELDS,
};

/// The size of a document, its largest operation counting.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Measure {
    /// Fields.
    pub fields: usize,
    /// Fields of a selection set itself.
    pub root_fields: usize,
    /// Fields that have another name.
    pub aliases: usize,
    /// Directives.
    pub directives: usize,
    /// Fields inside of each other.
    pub depth: usize,
    /// The same below `__schema` and `__type`.
    pub introspection_depth: usize,
}

/// What is known of the fragments so far; `None` while one is being measured.
struct Fragments<'a> {
    document: &'a ExecutableDocument,
    known: HashMap<&'a Name, Option<Measure>>,
}

impl Measure {
    /// Measures a document.
    pub fn of(document: &ExecutableDocument) -> Result<Self, Limit> {
        let mut fragments = Fragments { document, known: HashMap::new() };
        let mut whole = Self::default();
        for (_, operation) in document.operations.iter() {
            at_once(operation.node.directives.len())?;
            let one = fragments.selection_set(&operation.node.selection_set.node)?;
            whole = whole.larger(one);
            whole.directives = whole.directives.saturating_add(operation.node.directives.len());
        }
        // What no operation spreads is validated, too.
        let spread: HashSet<&Name> = fragments.known.keys().copied().collect();
        for name in document.fragments.keys().filter(|name| !spread.contains(name)) {
            whole = whole.larger(fragments.fragment(name)?);
        }
        Ok(whole)
    }

    /// Refuses what is too large.
    pub(super) fn check(&self) -> Result<(), Limit> {
        let Self { fields, root_fields, aliases, directives, depth, introspection_depth } = *self;
        for (code, what, has, most) in [
            ("graphql_too_deep", "query's fields are nested this deep:", depth, MAX_DEPTH),
            (
                "graphql_too_deep",
                "question about the schema is nested this deep:",
                introspection_depth,
                MAX_INTROSPECTION_DEPTH,
            ),
            ("graphql_too_many_root_fields", "number of root fields is", root_fields, MAX_ROOT_FIELDS),
            ("graphql_too_many_aliases", "number of aliases is", aliases, MAX_ALIASES),
            ("graphql_too_many_directives", "number of directives is", directives, MAX_DIRECTIVES),
            ("graphql_too_many_fields", "number of fields is", fields, MAX_FIELDS),
        ] {
            if has > most {
                return Err(Limit::exceeded(code, what, has, most));
            }
        }
        Ok(())
    }

    /// Whether it asks what the schema is.
    pub fn asks_about_the_schema(&self) -> bool {
        self.introspection_depth > 0
    }

    /// Both in one selection set.
    fn beside(self, other: Self) -> Self {
        Self {
            fields: self.fields.saturating_add(other.fields),
            root_fields: self.root_fields.saturating_add(other.root_fields),
            aliases: self.aliases.saturating_add(other.aliases),
            directives: self.directives.saturating_add(other.directives),
            ..self.larger(other)
        }
    }

    /// The larger one in everything.
    fn larger(self, other: Self) -> Self {
        Self {
            fields: self.fields.max(other.fields),
            root_fields: self.root_fields.max(other.root_fields),
            aliases: self.aliases.max(other.aliases),
            directives: self.directives.max(other.directives),
            depth: self.depth.max(other.depth),
            introspection_depth: self.introspection_depth.max(other.introspection_depth),
        }
    }
}

fn at_once(directives: usize) -> Result<(), Limit> {
    if directives <= MAX_DIRECTIVES_AT_ONCE {
        return Ok(());
    }
    let what = "number of directives at one place is";
    Err(Limit::exceeded("graphql_too_many_directives", what, directives, MAX_DIRECTIVES_AT_ONCE))
}

impl<'a> Fragments<'a> {
    fn selection_set(&mut self, set: &'a SelectionSet) -> Result<Measure, Limit> {
        let mut whole = Measure::default();
        for selection in &set.items {
            let directives = selection.node.directives().len();
            at_once(directives)?;
            let mut one = match &selection.node {
                Selection::Field(field) => {
                    let inside = self.selection_set(&field.node.selection_set.node)?;
                    let about_the_schema = matches!(field.node.name.node.as_str(), "__schema" | "__type");
                    let deeper = inside.depth.max(inside.introspection_depth) + 1;
                    Measure {
                        fields: inside.fields.saturating_add(1),
                        root_fields: 1,
                        aliases: inside.aliases.saturating_add(usize::from(field.node.alias.is_some())),
                        directives: inside.directives,
                        depth: if about_the_schema { 0 } else { inside.depth + 1 },
                        introspection_depth: match inside.introspection_depth {
                            _ if about_the_schema => deeper,
                            0 => 0,
                            below => below + 1,
                        },
                    }
                }
                Selection::FragmentSpread(spread) => self.fragment(&spread.node.fragment_name.node)?,
                Selection::InlineFragment(fragment) => self.selection_set(&fragment.node.selection_set.node)?,
            };
            one.directives = one.directives.saturating_add(directives);
            whole = whole.beside(one);
        }
        Ok(whole)
    }

    fn fragment(&mut self, name: &'a Name) -> Result<Measure, Limit> {
        match self.known.get(name) {
            Some(Some(known)) => return Ok(*known),
            Some(None) => {
                let message = format!("the fragment `{name}` contains itself");
                return Err(Limit::new("graphql_validation", message));
            }
            None => {}
        }
        // One that is not there is the validator's to report; it counts, because what spreads it may be spread very
        // often.
        let Some(fragment) = self.document.fragments.get(name) else {
            return Ok(Measure { fields: 1, root_fields: 1, ..Measure::default() });
        };
        self.known.insert(name, None);
        let measure = self.selection_set(&fragment.node.selection_set.node)?;
        self.known.insert(name, Some(measure));
        Ok(measure)
    }
}

#[cfg(test)]
mod tests {
    use async_graphql::parser::parse_query;

    use super::*;

    fn measure(document: &str) -> Result<Measure, Limit> {
        Measure::of(&parse_query(document).unwrap())
    }

    #[test]
    fn fragments_count_wherever_they_are_spread() {
        let twice = measure("{ a { ...F } b { ...F } } fragment F on X { c: d { e } }").unwrap();
        let wanted = Measure { fields: 6, root_fields: 2, aliases: 2, directives: 0, depth: 3, introspection_depth: 0 };
        assert_eq!(twice, wanted);
    }

    #[test]
    fn a_small_document_that_means_a_huge_one_is_measured_at_once() {
        let mut document = "{ ...F0 } ".to_owned();
        for n in 0..200 {
            document += format!("fragment F{n} on Q {{ ...F{m} ...F{m} }} ", m = n + 1).as_str();
        }
        document.push_str("fragment F200 on Q { a }");
        let bomb = measure(&document).unwrap();
        assert_eq!(bomb.fields, usize::MAX);
        assert_eq!(bomb.check().unwrap_err().code, "graphql_too_many_root_fields");
    }

    #[test]
    fn a_fragment_that_is_not_there_counts_wherever_it_is_spread() {
        let mut document = "{ ...F0 } ".to_owned();
        for n in 0..40 {
            document += format!("fragment F{n} on Q {{ ...F{m} ...F{m} }} ", m = n + 1).as_str();
        }
        let bomb = measure(&document).unwrap();
        assert_eq!(bomb.check().unwrap_err().code, "graphql_too_many_root_fields");
        assert_eq!(measure("{ ...F }").and_then(|measure| measure.check()), Ok(()), "the validator says what is wrong");
    }

    #[test]
    fn a_fragment_that_contains_itself_is_refused() {
        for document in [
            "{ ...A } fragment A on Q { a { ...A } }",
            "{ ...A } fragment A on Q { ...B } fragment B on Q { ...A ...A }",
            "{ a } fragment A on Q { ...A }",
        ] {
            assert_eq!(measure(document).unwrap_err().code, "graphql_validation", "{document}");
        }
    }

    #[test]
    fn questions_about_the_schema_have_a_depth_of_their_own() {
        let about = measure("{ __schema { types { name } } a { b } }").unwrap();
        assert_eq!((about.depth, about.introspection_depth), (2, 3));
        assert!(about.asks_about_the_schema());
        let below = "{ __schema { types { ...F } } } fragment F on __Type { ";
        let deep =
            format!("{below}{}{} }}", "ofType { ".repeat(MAX_DEPTH), "name".to_owned() + &" }".repeat(MAX_DEPTH));
        assert_eq!(measure(&deep).and_then(|measure| measure.check()), Ok(()), "a fragment counts where it is spread");
        assert!(
            measure("{ ...F } fragment F on Query { ... { __type(name: \"X\") { name } } }")
                .unwrap()
                .asks_about_the_schema()
        );
        assert!(!measure("{ __typename a { __typename } }").unwrap().asks_about_the_schema());
    }

    #[test]
    fn each_bound_is_held() {
        let many = |one: &str, n: usize| format!("{{ {} }}", one.repeat(n));
        let deep = format!("{}{}", "{a".repeat(MAX_DEPTH + 1), "}".repeat(MAX_DEPTH + 1));
        let nested = format!("{{ a {} }}", many("b ", MAX_FIELDS));
        let aliased = format!("{{ a {} }}", many("b: c ", MAX_ALIASES + 1));
        let directed = format!("{{ a {} }}", many("b @skip(if: true) ", MAX_DIRECTIVES + 1));
        for (document, code) in [
            (deep.as_str(), "graphql_too_deep"),
            (&many("a ", MAX_ROOT_FIELDS + 1), "graphql_too_many_root_fields"),
            (&nested, "graphql_too_many_fields"),
            (&aliased, "graphql_too_many_aliases"),
            (&directed, "graphql_too_many_directives"),
            ("{ a @b @b @b @b @b }", "graphql_too_many_directives"),
            ("query @b @b @b @b @b { a }", "graphql_too_many_directives"),
        ] {
            let refused = measure(document).and_then(|measure| measure.check()).unwrap_err();
            assert_eq!(refused.code, code, "{}", &document[..document.len().min(60)]);
        }
    }
}
