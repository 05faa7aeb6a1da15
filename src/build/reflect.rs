//! What the host has to know of a kernel, read from its naga module.

use naga::{AddressSpace, ImageClass, StorageAccess, TypeInner};

/// A kernel and its variants.
pub struct Variants {
    pub first: Kernel,
    /// With compact weights or values, if it has any.
    pub mixed: Option<Kernel>,
    /// With maps in half precision, too, if it has any.
    pub half: Option<Kernel>,
    /// Computing in it, too, if it can.
    pub half_arithmetic: Option<Kernel>,
}

/// What a file is composed to.
#[derive(Clone, Copy)]
pub enum Variant {
    Full,
    /// Weights and values in 16 bits.
    Mixed,
    /// Maps in half precision, too.
    Half,
    /// Most of the arithmetic in half precision, too.
    HalfArithmetic,
    /// Matrices of 16 x 16 of numbers stored in half precision.
    Matrix16,
    /// Of 8 x 8.
    Matrix8,
}

impl Variant {
    /// Shader definitions.
    pub fn definitions(self) -> &'static [&'static str] {
        match self {
            Self::Full => &[],
            Self::Mixed => &["COMPACT"],
            Self::Half | Self::Matrix8 => &["COMPACT", "HALF_PRECISION"],
            Self::HalfArithmetic => &["COMPACT", "HALF_PRECISION", "HALF_ARITHMETIC"],
            Self::Matrix16 => &["COMPACT", "HALF_PRECISION", "MATRIX_16"],
        }
    }

    /// What tells the kernel's name apart.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Full => "",
            Self::Mixed => ", mixed",
            Self::Half => ", half",
            Self::HalfArithmetic => ", half arithmetic",
            Self::Matrix16 => ", 16x16",
            Self::Matrix8 => ", 8x8",
        }
    }

    /// What tells its static apart.
    pub fn constant(self) -> &'static str {
        match self {
            Self::Full => "",
            Self::Mixed => "_MIXED",
            Self::Half => "_HALF",
            Self::HalfArithmetic => "_HALF_ARITHMETIC",
            Self::Matrix16 => "_16",
            Self::Matrix8 => "_8",
        }
    }
}

/// A composed kernel.
pub struct Kernel {
    /// `folder/file` below `shaders/`.
    pub name: String,
    pub variant: Variant,
    /// Self-contained WGSL.
    pub wgsl: String,
    pub workgroup_size: [u32; 3],
    /// Bytes of workgroup memory.
    pub workgroup_bytes: u32,
    /// Whether it has subgroup operations.
    pub subgroups: bool,
    /// Whether it computes with numbers of 16 bits.
    pub half_arithmetic: bool,
    /// Rows and columns of its cooperative matrices.
    pub matrices: Option<u32>,
    pub bindings: Vec<Binding>,
    /// Names of the override constants.
    pub constants: Vec<String>,
    /// Uniform structs, one per uniform binding.
    pub structs: Vec<Struct>,
}

pub struct Binding {
    pub group: u32,
    pub index: u32,
    pub name: String,
    pub kind: BindingKind,
}

pub enum BindingKind {
    Uniform {
        bytes: u32,
    },
    Storage {
        read_only: bool,
    },
    /// Write-only `rgba8unorm`, the one format that every adapter stores to.
    StorageTexture,
}

#[derive(Clone, PartialEq)]
pub struct Struct {
    pub name: String,
    pub fields: Vec<Field>,
    pub bytes: u32,
}

#[derive(Clone, PartialEq)]
pub struct Field {
    pub name: String,
    pub offset: u32,
    pub bytes: u32,
    /// Rust type with the same layout.
    pub rust: String,
}

impl Kernel {
    pub fn new(name: &str, variant: Variant, module: naga::Module) -> Self {
        let module = &module;
        let fail = |what: String| -> ! { panic!("shaders/{name}.wgsl: {what}") };
        let info = naga::valid::Validator::new(
            naga::valid::ValidationFlags::all(),
            naga::valid::Capabilities::all(),
        )
        .validate(module)
        .unwrap_or_else(|error| fail(format!("{error:?}")));
        let wgsl =
            naga::back::wgsl::write_string(module, &info, naga::back::wgsl::WriterFlags::empty())
                .unwrap_or_else(|error| fail(error.to_string()));
        let mut layouter = naga::proc::Layouter::default();
        layouter.update(module.to_ctx()).unwrap();

        let [entry] = module.entry_points.as_slice() else {
            fail("a kernel has exactly one entry point".into());
        };
        let constants = module
            .overrides
            .iter()
            .map(|(_, o)| o.name.clone().unwrap())
            .collect();
        for constant in &constants as &Vec<String> {
            if !wgsl.contains(&format!("override {constant}:")) {
                fail(format!(
                    "override `{constant}` was renamed; declare overrides in the kernel's own \
                     file and end no name in a digit"
                ));
            }
        }

        let mut bindings = Vec::new();
        let mut structs = Vec::new();
        let mut workgroup_bytes = 0;
        for (_, variable) in module.global_variables.iter() {
            let inner = &module.types[variable.ty].inner;
            if variable.space == AddressSpace::WorkGroup {
                workgroup_bytes += layouter[variable.ty].size;
            }
            let Some(binding) = &variable.binding else {
                continue;
            };
            let kind = match (variable.space, inner) {
                (AddressSpace::Uniform, TypeInner::Struct { .. }) => {
                    let layout = Struct::new(module, &layouter, variable.ty);
                    let bytes = layout.bytes;
                    structs.push(layout);
                    BindingKind::Uniform { bytes }
                }
                (AddressSpace::Storage { access }, _) => BindingKind::Storage {
                    read_only: !access.contains(StorageAccess::STORE),
                },
                (
                    AddressSpace::Handle,
                    TypeInner::Image {
                        class: ImageClass::Storage { format, .. },
                        ..
                    },
                ) if *format == naga::StorageFormat::Rgba8Unorm => BindingKind::StorageTexture,
                _ => fail(format!("binding {:?} is of no known kind", variable.name)),
            };
            bindings.push(Binding {
                group: binding.group,
                index: binding.binding,
                name: undecorated(variable.name.as_deref().unwrap()).to_string(),
                kind,
            });
        }
        bindings.sort_by_key(|b| (b.group, b.index));
        let types = || module.types.iter().map(|(_, ty)| &ty.inner);
        let half_arithmetic = types().any(|inner| inner.scalar() == Some(naga::Scalar::F16));
        let matrices = types().find_map(|inner| match inner {
            TypeInner::CooperativeMatrix { columns, .. } => Some(*columns as u32),
            _ => None,
        });
        Self {
            name: name.to_string(),
            variant,
            workgroup_size: entry.workgroup_size,
            workgroup_bytes,
            subgroups: wgsl.contains("subgroup"),
            half_arithmetic,
            matrices,
            wgsl,
            bindings,
            constants,
            structs,
        }
    }
}

impl Struct {
    fn new(
        module: &naga::Module,
        layouter: &naga::proc::Layouter,
        handle: naga::Handle<naga::Type>,
    ) -> Self {
        let ty = &module.types[handle];
        let TypeInner::Struct { members, span } = &ty.inner else {
            unreachable!()
        };
        let fields = members
            .iter()
            .map(|member| Field {
                name: member.name.clone().unwrap(),
                offset: member.offset,
                bytes: layouter[member.ty].size,
                rust: rust_type(module, member.ty),
            })
            .collect();
        // Uniform bindings are sized in steps of 16 bytes.
        let name = undecorated(ty.name.as_deref().unwrap()).to_string();
        Self {
            name,
            fields,
            bytes: span.next_multiple_of(16),
        }
    }
}

/// Imported items carry their module behind a marker.
fn undecorated(name: &str) -> &str {
    name.split_once("X_naga_oil_mod_X")
        .map_or(name, |(plain, _)| plain)
}

fn rust_type(module: &naga::Module, handle: naga::Handle<naga::Type>) -> String {
    let scalar = |s: &naga::Scalar| match s.kind {
        naga::ScalarKind::Float => "f32",
        naga::ScalarKind::Uint => "u32",
        naga::ScalarKind::Sint => "i32",
        other => panic!("uniform scalar {other:?}"),
    };
    match &module.types[handle].inner {
        TypeInner::Scalar(s) => scalar(s).to_string(),
        TypeInner::Vector { size, scalar: s } => format!("[{}; {}]", scalar(s), *size as u32),
        TypeInner::Matrix {
            columns,
            rows: naga::VectorSize::Quad,
            scalar: s,
        } => {
            format!("[[{}; 4]; {}]", scalar(s), *columns as u32)
        }
        TypeInner::Array {
            base,
            size: naga::ArraySize::Constant(n),
            ..
        } => {
            format!("[{}; {n}]", rust_type(module, *base))
        }
        other => panic!("uniform field {other:?}"),
    }
}
