//! The macro that makes a component of a crate.

/// Makes the crate a component whose model is the given [`Reducer`](crate::Reducer).
///
/// Once in a crate, at its top level; twice does not compile:
///
/// ```compile_fail,E0428
/// # use reductor_guest::prelude::*;
/// # #[derive(Default, Serialize, Deserialize)]
/// # struct Stock;
/// # #[derive(Deserialize, JsonSchema)]
/// # enum StockAction { Clear }
/// # impl Reducer for Stock {
/// #     const DOCUMENT_TYPE: &'static str = "example/stock";
/// #     type Action = StockAction;
/// #     fn apply(&mut self, _: StockAction, _: &mut Context) -> Result<(), Rejection> { Ok(()) }
/// # }
/// reductor_guest::export!(Stock);
/// reductor_guest::export!(Stock);
/// # fn main() {}
/// ```
///
/// On targets other than WebAssembly it expands to
/// nothing, so the same crate can be tested and linked natively.
#[macro_export]
macro_rules! export {
    ($reducer:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            use $crate::component::bindings;
            type Component = $crate::component::Component<$reducer>;
            bindings::export! { Component with_types_in bindings }
        };
        // Says on every target that the type is a model. Its name is what the compiler says of a
        // second invocation in the same place.
        const _EXPORT_MAY_BE_INVOKED_ONCE: &str = <$reducer as $crate::Reducer>::DOCUMENT_TYPE;
    };
}
