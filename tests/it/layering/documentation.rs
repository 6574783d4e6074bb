//! Finds public items without documentation: those that other files of the crate may use.

use syn::visit_mut::{self, VisitMut};

/// Returns the name of each item of a file that is `pub` or `pub(crate)` and has no documentation.
///
/// Not counted: modules, whose documentation stands in their file; fields and variants;
/// `pub(super)`, which stays within a folder; and arguments of the command line, whose
/// documentation would be printed as help.
pub(super) fn undocumented(file: &str, text: &str) -> Vec<(usize, String)> {
    let mut parsed = syn::parse_file(text).unwrap_or_else(|e| panic!("{file}: {e}"));
    let mut finder = Finder::default();
    finder.visit_file_mut(&mut parsed);
    finder.found
}

#[derive(Default)]
struct Finder {
    found: Vec<(usize, String)>,
}

impl Finder {
    fn check(&mut self, visibility: &syn::Visibility, attributes: &[syn::Attribute], name: &syn::Ident) {
        let is_public = match visibility {
            syn::Visibility::Public(_) => true,
            syn::Visibility::Restricted(restricted) => restricted.path.is_ident("crate"),
            syn::Visibility::Inherited => false,
        };
        if is_public && !is_documented(attributes) && !is_argument(attributes) {
            self.found.push((name.span().start().line, name.to_string()));
        }
    }
}

fn is_documented(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| attribute.path().is_ident("doc"))
}

/// Whether the type is parsed by clap, which makes help of its documentation.
fn is_argument(attributes: &[syn::Attribute]) -> bool {
    let derives = |attribute: &syn::Attribute| match &attribute.meta {
        syn::Meta::List(list) => list.path.is_ident("derive") && list.tokens.to_string().contains("clap"),
        _ => false,
    };
    attributes.iter().any(derives)
}

fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        syn::Meta::List(list) => {
            let condition = list.tokens.to_string();
            list.path.is_ident("cfg") && condition.contains("test") && !condition.contains("not")
        }
        _ => false,
    })
}

impl VisitMut for Finder {
    fn visit_item_mod_mut(&mut self, module: &mut syn::ItemMod) {
        if !is_test(&module.attrs) {
            visit_mut::visit_item_mod_mut(self, module);
        }
    }

    fn visit_item_fn_mut(&mut self, item: &mut syn::ItemFn) {
        self.check(&item.vis, &item.attrs, &item.sig.ident);
    }

    fn visit_impl_item_fn_mut(&mut self, item: &mut syn::ImplItemFn) {
        self.check(&item.vis, &item.attrs, &item.sig.ident);
    }

    fn visit_impl_item_const_mut(&mut self, item: &mut syn::ImplItemConst) {
        self.check(&item.vis, &item.attrs, &item.ident);
    }

    fn visit_item_struct_mut(&mut self, item: &mut syn::ItemStruct) {
        self.check(&item.vis, &item.attrs, &item.ident);
    }

    fn visit_item_enum_mut(&mut self, item: &mut syn::ItemEnum) {
        self.check(&item.vis, &item.attrs, &item.ident);
    }

    fn visit_item_trait_mut(&mut self, item: &mut syn::ItemTrait) {
        self.check(&item.vis, &item.attrs, &item.ident);
    }

    fn visit_item_type_mut(&mut self, item: &mut syn::ItemType) {
        self.check(&item.vis, &item.attrs, &item.ident);
    }

    fn visit_item_const_mut(&mut self, item: &mut syn::ItemConst) {
        self.check(&item.vis, &item.attrs, &item.ident);
    }

    fn visit_item_static_mut(&mut self, item: &mut syn::ItemStatic) {
        self.check(&item.vis, &item.attrs, &item.ident);
    }
}
