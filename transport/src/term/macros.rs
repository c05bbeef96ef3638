//! The `term!` macro.

/// A [`Term`](crate::term::Term) written nearly as in Erlang.
///
/// Bare words are atoms, strings are binaries, and a Rust expression that is `Into<Term>` stands
/// in parentheses:
///
/// ```
/// use krarup_transport::term::Term;
/// use krarup_transport::term;
///
/// let count = 3;
/// let term = term!({echo, (count), [1, -2.5, "bin" | tail], #{a => {}, "k" => [true]}});
/// let text = "{echo,3,[1,-2.5,<<\"bin\">>|tail],#{a => {},<<\"k\">> => [true]}}";
/// assert_eq!(term, text.parse::<Term>().unwrap());
/// ```
///
/// Keys of maps are single tokens or bracketed. Of equal keys the last one counts.
#[macro_export]
macro_rules! term {
    // One complete term.
    (# { $($pairs:tt)* }) => {
        $crate::term::Term::Map(
            <$crate::term::Map as ::std::iter::FromIterator<_>>::from_iter(
                $crate::term!(@key [] $($pairs)*)
            )
        )
    };
    ({ $($elements:tt)* }) => {
        $crate::term::Term::Tuple($crate::term!(@tuple [] $($elements)*))
    };
    ([ $($elements:tt)* ]) => { $crate::term!(@list [] $($elements)*) };
    (( $value:expr )) => { $crate::term::Term::from($value) };
    (- $value:literal) => { $crate::term::Term::from(-$value) };
    ($value:literal) => { $crate::term::Term::from($value) };
    ($name:ident) => {
        $crate::term::Term::Atom(const { $crate::term::Atom::from_static(stringify!($name)) })
    };

    // Elements: take a term off the front, then look at what follows it.
    (@$kind:ident [$($done:expr,)*] # $map:tt $($rest:tt)*) => {
        $crate::term!(@after $kind [$($done,)* $crate::term!(# $map),] $($rest)*)
    };
    (@$kind:ident [$($done:expr,)*] - $value:literal $($rest:tt)*) => {
        $crate::term!(@after $kind [$($done,)* $crate::term!(- $value),] $($rest)*)
    };
    (@key [$($done:expr,)*]) => { ::std::vec::Vec::from([$($done,)*]) };
    (@key [$($done:expr,)*] $key:tt => # $map:tt $(, $($rest:tt)*)?) => {
        $crate::term!(@key [$($done,)* ($crate::term!($key), $crate::term!(# $map)),]
            $($($rest)*)?)
    };
    (@key [$($done:expr,)*] $key:tt => - $value:literal $(, $($rest:tt)*)?) => {
        $crate::term!(@key [$($done,)* ($crate::term!($key), $crate::term!(- $value)),]
            $($($rest)*)?)
    };
    (@key [$($done:expr,)*] $key:tt => $value:tt $(, $($rest:tt)*)?) => {
        $crate::term!(@key [$($done,)* ($crate::term!($key), $crate::term!($value)),]
            $($($rest)*)?)
    };
    (@tuple [$($done:expr,)*]) => { ::std::vec::Vec::from([$($done,)*]) };
    (@list [$($done:expr,)*]) => {
        $crate::term::Term::List(::std::vec::Vec::from([$($done,)*]))
    };
    (@$kind:ident [$($done:expr,)*] $value:tt $($rest:tt)*) => {
        $crate::term!(@after $kind [$($done,)* $crate::term!($value),] $($rest)*)
    };
    (@after $kind:ident [$($done:expr,)*]) => { $crate::term!(@$kind [$($done,)*]) };
    (@after $kind:ident [$($done:expr,)*] , $($rest:tt)*) => {
        $crate::term!(@$kind [$($done,)*] $($rest)*)
    };
    (@after list [$($done:expr,)*] | $($tail:tt)+) => {
        $crate::term::Term::improper_list(
            ::std::vec::Vec::from([$($done,)*]),
            $crate::term!($($tail)+),
        )
    };
}

#[cfg(test)]
mod tests {
    use super::super::{Atom, Map, Term};

    #[test]
    fn terms_look_like_erlang() {
        let name = String::from("x");
        for (term, text) in [
            (term!(ok), "ok"),
            (term!(true), "true"),
            (term!(fn), "fn"),
            (term!({}), "{}"),
            (term!([]), "[]"),
            (term!(#{}), "#{}"),
            (term!(-1), "-1"),
            (term!([1, -2, 2.5, -0.5,]), "[1,-2,2.5,-0.5]"),
            (term!({a, {b}, [c], #{d => e}}), "{a,{b},[c],#{d => e}}"),
            (term!([a, b | c]), "[a,b|c]"),
            (term!([a | [b]]), "[a,b]"),
            (term!([a | #{}]), "[a|#{}]"),
            (term!((name.as_str())), "<<\"x\">>"),
            (term!({(1 + 2), (Atom::from_static("A b"))}), "{3,'A b'}"),
            (
                term!(#{a => -1, "b" => #{}, {1} => [2], (3) => x,}),
                "#{3 => x,a => -1,{1} => [2],<<\"b\">> => #{}}",
            ),
        ] {
            assert_eq!(term.to_string(), text);
        }
        assert_eq!(term!(#{}), Term::Map(Map::new()));
    }
}
