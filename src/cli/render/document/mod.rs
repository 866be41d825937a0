//! An answer for tickets and pull requests: blocks of words and tables, written as Markdown or as HTML.
//!
//! Names come from foreign files. In Markdown they stand in code, where nothing is a mention, a link or an element; in
//! HTML every letter that could mean something is an entity.

mod block;
mod diff;
mod html;
mod markdown;
mod report;

pub(crate) use block::Document;
pub(crate) use html::Html;
pub(crate) use markdown::Markdown;

#[cfg(test)]
mod tests {
    use super::super::Renderer;
    use super::block::{Block, Table};
    use super::*;

    fn example() -> Document {
        let rows = vec![vec!["+1 MiB".to_owned(), "a|b`<img src=x>".to_owned()]];
        Document {
            title: "java <x> @team".to_owned(),
            blocks: vec![
                Block::Strong("LEAKS: *much* in A_b".to_owned()),
                Block::Table(Table { columns: vec!["change", "where"], rows }),
                Block::Stack("1. a".to_owned(), vec!["```".to_owned(), "</details>".to_owned()]),
            ],
        }
    }

    fn rendered(renderer: &dyn Renderer<Document>) -> String {
        let mut out = Vec::new();
        renderer.render(&example(), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn hostile_names_are_text_in_markdown() {
        let text = rendered(&Markdown);
        assert!(text.starts_with("### java &lt;x&gt; &#64;team\n"), "{text}");
        assert!(text.contains("**LEAKS: \\*much\\* in A\\_b**"), "{text}");
        assert!(text.contains("|---:|:---|") && text.contains("| +1 MiB | `a\\|b'<img src=x>` |"), "{text}");
        assert!(text.contains("\n````\n```\n</details>\n````\n"), "{text}");
    }

    #[test]
    fn hostile_names_are_text_in_html() {
        let text = rendered(&Html);
        assert!(!text.contains("<img") && text.contains("&lt;img src=x&gt;"), "{text}");
        assert_eq!(text.matches("</details>").count(), 1);
        assert!(text.contains("<title>java &lt;x&gt; @team</title>") && text.contains("default-src 'none'"));
    }
}
