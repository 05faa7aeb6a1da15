//! The host's view of a kernel, read from its naga module.

use std::collections::BTreeMap;

use naga::valid::Capabilities;
use naga::{AddressSpace, ImageClass, StorageAccess, TypeInner};

use super::compose::Composed;

/// A composed kernel.
pub struct Kernel {
    /// Self-contained WGSL.
    pub wgsl: String,
    /// Shader definitions that it is composed under.
    pub definitions: Vec<&'static str>,
    pub workgroup_size: [u32; 3],
    /// Bytes of workgroup memory.
    pub workgroup_bytes: u32,
    /// Whether it uses subgroup operations.
    pub subgroups: bool,
    /// Whether it has 16-bit variables.
    pub half_arithmetic: bool,
    /// Rows and columns of its cooperative matrices.
    pub matrices: Option<u32>,
    pub bindings: Vec<Binding>,
    /// Names of the overrides.
    pub overrides: Vec<String>,
    /// Uniform structs, one per uniform binding.
    pub structs: Vec<Struct>,
    /// File and name of the scalar constants, and their values as Rust.
    pub constants: BTreeMap<(String, String), Scalar>,
}

/// A constant's Rust type and value.
#[derive(Clone, PartialEq)]
pub struct Scalar {
    pub rust: &'static str,
    pub value: String,
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
    pub fn new(composed: &Composed<'_>, definitions: Vec<&'static str>) -> Result<Self, String> {
        let mut module = composed.parse()?;
        // Adapters without a capability run other kernels.
        composed.validate(&module, Capabilities::all())?;
        let constants = constants(&module, composed);
        naga::compact::compact(&mut module, naga::compact::KeepUnused::No);
        let module = &module;
        let mut layouter = naga::proc::Layouter::default();
        layouter.update(module.to_ctx()).unwrap();

        let [entry] = module.entry_points.as_slice() else {
            return Err("a kernel has exactly one entry point".into());
        };
        if entry.workgroup_size_overrides.is_some() {
            return Err("the host counts workgroups: no override can be their size".into());
        }
        let overrides = module.overrides.iter();
        let overrides = overrides.map(|(_, o)| o.name.clone().unwrap()).collect();
        let mut bindings = Vec::new();
        let mut structs = Vec::new();
        let mut workgroup_bytes = 0;
        for (_, variable) in module.global_variables.iter() {
            let inner = &module.types[variable.ty].inner;
            if variable.space == AddressSpace::WorkGroup {
                if let TypeInner::Array {
                    size: naga::ArraySize::Pending(_),
                    ..
                } = inner
                {
                    return Err(
                        "the host checks workgroup memory: no override can be its size".into(),
                    );
                }
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
                _ => return Err(format!("binding {:?} is of no known kind", variable.name)),
            };
            bindings.push(Binding {
                group: binding.group,
                index: binding.binding,
                name: variable.name.clone().unwrap(),
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
        let without_subgroups = Capabilities::all() - Capabilities::SUBGROUP;
        Ok(Self {
            wgsl: composed.text.clone(),
            definitions,
            workgroup_size: entry.workgroup_size,
            workgroup_bytes,
            subgroups: composed.validate(module, without_subgroups).is_err(),
            half_arithmetic,
            matrices,
            bindings,
            overrides,
            structs,
            constants,
        })
    }
}

/// The scalar constants of all files, by file and name.
fn constants(module: &naga::Module, composed: &Composed<'_>) -> BTreeMap<(String, String), Scalar> {
    let constants = module.constants.iter().filter_map(|(handle, constant)| {
        let naga::Expression::Literal(literal) = module.global_expressions[constant.init] else {
            return None;
        };
        let (rust, value) = match literal {
            naga::Literal::U32(value) => ("u32", value.to_string()),
            naga::Literal::I32(value) => ("i32", value.to_string()),
            naga::Literal::F32(value) => ("f32", format!("{value:?}")),
            _ => return None,
        };
        let file = composed.file(module.constants.get_span(handle))?;
        let name = constant.name.clone()?;
        Some(((file.to_string(), name), Scalar { rust, value }))
    });
    constants.collect()
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
        let name = ty.name.clone().unwrap();
        Self {
            name,
            fields,
            bytes: span.next_multiple_of(16),
        }
    }
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
