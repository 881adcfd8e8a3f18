//! The macro that makes a component of a crate.

/// Makes the crate a component whose model is the given [`Reducer`](crate::Reducer).
///
/// Once in a crate, at its top level. On targets other than WebAssembly it expands to
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
        // Says on every target that the type is a model.
        const _: &str = <$reducer as $crate::Reducer>::DOCUMENT_TYPE;
    };
}
